"""Bounds: CPU seconds, memory and values of the methods, on random and on published networks.

    python benchmarks/certify.py compared           # two networks of random weights, resnet2b and cifar_base_kw
    python benchmarks/certify.py narrow             # 8 inputs, three layers of 512, where forward bounds are cheap
    python benchmarks/certify.py published          # networks in ../shared/models, 200 test images each
    python benchmarks/certify.py semidefinite       # RSL18a of ../shared/models: the hardest row of images, by method

With ``--peer PATH``, the folder of auto_LiRPA's source, its CROWN and alpha-CROWN are measured in the same run:
repetitions take turns, and ratios are those of the medians.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from epsball import data, models
from epsball.ball import Ball
from epsball.certificates import (
    FLOAT32,
    METHODS,
    PLAIN,
    REAL,
    Arithmetic,
    Domain,
    LowerBounds,
    Problem,
    methods_of,
    optimised,
    sdp,
)
from epsball.classifier import Classifier
from epsball.graph import capture
from harness import Run, cpu_seconds, first_growth, in_fresh_process, interleaved, single_threaded

SHARED = Path(__file__).resolve().parents[2] / "shared"
RSL18A = SHARED / "models" / "mipverify_data"
STEPS = 3
"""Steps of optimised slopes on the networks compared."""
_PUBLISHED = Path(__file__).resolve().parents[1] / "examples" / "published.py"
COMPARED = {
    "resnet2b": ("abcrown/resnet2b.pth", (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar_base_kw": ("oval_bab/cifar_base_kw.pth", (0.485, 0.456, 0.406), (0.225, 0.225, 0.225)),
}
"""By the name of its builder in examples/published.py: weights, and mean and deviation of its inputs."""
ASCENT, PEER, PEER_ASCENT = f"optimised, {STEPS} steps", "auto_LiRPA CROWN", f"auto_LiRPA alpha-CROWN, {STEPS} steps"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published network, its radius, and which 200 test images it is measured on."""

    model: str
    data: str
    radius: str
    images: str | None = None


PUBLISHED = {
    "wong_kolter/mnist": Published(model="cnn_a@wong_kolter/mnist.pth", data="idx:mnist", radius="0.1"),
    "WK17a": Published(model="cnn_a@mipverify_data/master_seed_1_epochs_100.pth", data="idx:mnist", radius="0.1"),
    "cifar_cnn_a_adv": Published(
        model="cnn_a@abcrown/cifar_cnn_a_adv.model,mean=0.4913725490196078:0.4823529411764706:0.4466666666666667,"
        "std=0.24705882352941178:0.24352941176470588:0.2615686274509804",
        data="cifar10:cifar10",
        radius="2/255",
        images="sdp_cifar_200",
    ),
    "mnist_cnn_a_adv": Published(
        model="cnn_a@abcrown/mnist_cnn_a_adv.model", data="idx:mnist", radius="0.3", images="sdp_mnist_200"
    ),
}


def compared_networks() -> dict[str, Callable[[], tuple[nn.Module, Tensor, Ball]]]:
    """Return by name what makes a network, inputs and a ball.

    The first two have the layout of published figures and random weights: two convolutions (16, 32; 4x4, stride 2), 100
    and 10 units. The others are published networks with images of CIFAR-10's test set.
    """
    found: dict[str, Callable[[], tuple[nn.Module, Tensor, Ball]]] = {
        "28x28x1": partial(_random_network, (1, 28, 28), "0.1"),
        "32x32x3": partial(_random_network, (3, 32, 32), "2/255"),
    }
    return found | {name: partial(_loaded, name, 8) for name in COMPARED}


def _random_network(shape: tuple[int, ...], radius: str) -> tuple[nn.Module, Tensor, Ball]:
    torch.manual_seed(0)
    return models.ARCHITECTURES["cnn_a"](shape, 10).eval(), torch.rand(32, *shape), Ball("linf", radius)


def _loaded(name: str, count: int) -> tuple[nn.Module, Tensor, Ball]:
    """Return a published network, its normalisation as a 1x1 convolution, which the peer bounds too."""
    weights, mean, deviation = COMPARED[name]
    x, _ = data.load(f"cifar10:{SHARED / 'data' / 'cifar10'},split=test")[:count]
    text = f"{_PUBLISHED}:{name}@{SHARED / 'models' / weights}"
    network = models.load(text, shape=(3, 32, 32), classes=10).classifier().network
    scale = 1 / torch.tensor(deviation)
    normalise = nn.Conv2d(3, 3, 1)
    normalise.weight.data, normalise.bias.data = torch.diag(scale)[:, :, None, None], -torch.tensor(mean) * scale
    module = nn.Sequential(normalise, network).eval().requires_grad_(False)
    return module, data.as_pixels(x), Ball("linf", "1/255")


def contenders(network: str, peer: Path | None) -> dict[str, Run]:
    """Return what is timed on a network by name, the peer's last."""
    module, x, ball = compared_networks()[network]()
    graph = capture(module, tuple(x.shape[1:]))
    problem = Problem.of(graph, Domain.of(ball, x), graph(x).argmax(dim=1))

    def ours(method: Callable[[Problem], LowerBounds], arithmetic: Arithmetic) -> Run:
        return lambda: method(replace(problem, arithmetic=arithmetic)).rows

    runs: dict[str, Run] = {
        f"{method} ({arithmetic.name})": ours(METHODS[method], arithmetic)
        for method in ("interval", "crown-ibp", "crown")
        for arithmetic in (PLAIN, REAL, FLOAT32)
    }
    runs[ASCENT] = ours(partial(optimised, steps=STEPS), REAL)
    if peer is not None:
        bound = peer_bounds(peer, module, x, ball, problem.specification)
        runs |= {PEER: partial(bound, "CROWN"), PEER_ASCENT: partial(bound, "CROWN-Optimized")}
    return runs


def run_compared(peer: Path | None, repetitions: int, names: list[str]) -> None:
    for name in names or compared_networks():
        runs = contenders(name, peer)
        short = {what: run for what, run in runs.items() if what not in (ASCENT, PEER_ASCENT)}
        seconds = interleaved(short, repetitions, seed=0)
        last = statistics.median(list(seconds.values())[-1])
        for what, times in seconds.items():
            own = statistics.median(times)
            report(name, what, {"seconds": own, "share": own / last, "mean": short[what]().mean().item()})
        for what in ("crown (real)", PEER, ASCENT, PEER_ASCENT):
            if what in runs:
                report(name, f"{what}, alone", in_fresh_process(alone, name, what, peer))


def alone(network: str, what: str, peer: Path | None) -> dict[str, float | None]:
    """Return the figures of one contender's first call in a process of its own."""
    single_threaded()
    run = contenders(network, peer)[what]
    values: list[Tensor] = []
    begun = time.process_time()
    memory = first_growth(lambda: values.append(run()))
    return {"seconds": time.process_time() - begun, "mebibytes": memory, "mean": values[0].mean().item()}


def run_narrow() -> None:
    """Report the methods on a network of few inputs and wide layers, random weights."""
    torch.manual_seed(0)
    layers = [nn.Linear(8, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()]
    module, x = nn.Sequential(*layers, nn.Linear(512, 5)).eval(), torch.rand(32, 8)
    graph = capture(module, (8,))
    domain = Domain.of(Ball("linf", "1/50"), x)
    problem = Problem.of(graph, domain, module(x).argmax(dim=1), arithmetic=REAL)
    for method in ("interval", "crown-ibp", "forward", "crown"):
        run = partial(METHODS[method], problem)
        found, seconds = run().rows, min(cpu_seconds(run) for _ in range(3))
        figures = {"seconds": seconds, "stable": int((found > 0).all(dim=1).sum()), "mean": found.mean().item()}
        report("8, 3 x 512, 5", method, figures)


def run_published(only: list[str]) -> None:
    for name, network in PUBLISHED.items():
        if only and name not in only:
            continue
        classifier, x, y = load(network)
        graph = capture(classifier.network, tuple(x.shape[1:]))
        predicted = classifier(x).argmax(dim=1)
        right = predicted == y
        ball = Ball("linf", network.radius)
        problem = Problem.of(graph, Domain.of(ball, x), predicted)
        report(name, "correct", {"count": int(right.sum())})
        for method in methods_of("auto", graph, ball.norm):
            bound = METHODS[method]
            found: list[LowerBounds] = []
            seconds = cpu_seconds(lambda: found.append(bound(problem)))  # noqa: B023
            certified = right & (found[-1].rows > 0).all(dim=1)
            report(name, method, {"seconds": seconds, "certified": int(certified.sum())})


def run_semidefinite(images: int) -> None:
    """Report the least row of each image by programs, and by the relaxation that the network was trained for."""
    layers = {
        name: torch.from_numpy(np.load(RSL18A / f"RSL18a_{name}.npy")).float() for name in ("W1", "B1", "W2", "B2")
    }
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 10)).eval()
    weights = [layers["W1"].T, layers["B1"].flatten(), layers["W2"].T, layers["B2"].flatten()]
    module.load_state_dict(dict(zip(module.state_dict(), weights, strict=True)))
    x, _ = data.load(f"idx:{SHARED / 'data' / 'mnist'},split=test")[:images]
    x = data.as_pixels(x)
    graph, predicted, ball = capture(module, (1, 28, 28)), module(x).argmax(dim=1), Ball("linf", "0.1")
    for number in range(images):
        at = slice(number, number + 1)
        problem = Problem.of(graph, Domain.of(ball, x[at]), predicted[at])
        least = METHODS["lp"](problem).rows.argmin(dim=1)
        hardest = replace(problem, specification=problem.specification[:, least])
        for method in ("wong-kolter", "crown", "optimised", "lp"):
            report(f"RSL18a, image {number}", method, {"bound": METHODS[method](hardest).rows.item()})
        found: list[LowerBounds] = []
        seconds = cpu_seconds(lambda: found.append(sdp(hardest, every=True)))  # noqa: B023
        report(f"RSL18a, image {number}", "sdp", {"bound": found[-1].rows.item(), "seconds": seconds})


def load(network: Published) -> tuple[Classifier, Tensor, Tensor]:
    """Return a published network and its 200 test images."""
    text = network.model.replace("@", f"@{SHARED / 'models'}/")
    kind, folder = network.data.split(":")
    source = data.load(f"{kind}:{SHARED / 'data' / folder},split=test")
    chosen = list(range(200))
    if network.images is not None:
        chosen = json.loads((SHARED / "models" / "abcrown" / "subset_test_indices.json").read_text())[network.images]
    place = {position: row for row, position in enumerate(source.positions.tolist())}
    x, y = source.take([place[position] for position in chosen])
    x = data.as_pixels(x)
    loaded = models.load(text, shape=tuple(x.shape[1:]), classes=10)
    return loaded.classifier(), x, y


def peer_bounds(path: Path, module: nn.Module, x: Tensor, ball: Ball, specification: Tensor) -> Callable[[str], Tensor]:
    """Return auto_LiRPA's lower bounds by the name of its method (float32, no rounding covered)."""
    sys.path.insert(0, str(path))
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm  # pyright: ignore[reportMissingImports]

    bounded = BoundedModule(module, x, bound_opts={"optimize_bound_args": {"iteration": STEPS}})
    low, high = (x - float(ball.radius)).clamp(min=0), (x + float(ball.radius)).clamp(max=1)
    around = BoundedTensor(x, PerturbationLpNorm(x_L=low, x_U=high))

    def run(method: str) -> Tensor:
        found = bounded.compute_bounds(x=(around,), C=specification.float(), method=method, bound_upper=False)
        return found[0].detach()

    return run


def report(network: str, what: str, figures: dict) -> None:
    shown = "  ".join(f"{name} {value:.5g}" for name, value in figures.items() if value is not None)
    sys.stdout.write(f"{network:20} {what:38} {shown}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["compared", "narrow", "published", "semidefinite"])
    parser.add_argument("names", nargs="*", help="networks; all if left out")
    parser.add_argument("--peer", type=Path, help="where auto_LiRPA's source lies")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--images", type=int, default=5, help="of the semidefinite benchmark")
    options = parser.parse_args()
    single_threaded()
    match options.what:
        case "compared":
            run_compared(options.peer, options.repetitions, options.names)
        case "narrow":
            run_narrow()
        case "semidefinite":
            run_semidefinite(options.images)
        case _:
            run_published(options.names)


if __name__ == "__main__":
    main()
