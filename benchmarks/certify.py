"""Bounds: CPU seconds, memory and values of the methods, on random and on published networks.

    python benchmarks/certify.py random             # the networks of the peers' figures, random weights
    python benchmarks/certify.py narrow             # 8 inputs, three layers of 512, where forward bounds are cheap
    python benchmarks/certify.py published          # networks in ../shared/models, 200 test images each

With ``--peer PATH``, where auto_LiRPA's source lies, its CROWN is timed beside ours in the same run.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
    margins,
    methods_of,
    optimised,
)
from epsball.classifier import Classifier
from epsball.graph import Graph, capture
from harness import cpu_seconds, memory_growth, single_threaded

SHARED = Path(__file__).resolve().parents[2] / "shared"


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


def random_networks() -> dict[str, tuple[nn.Module, Tensor, Ball]]:
    """Return the two networks of the peers' figures: two convolutions (16, 32; 4x4, stride 2), 100 and 10 units."""
    networks = {}
    for name, (channels, side, radius) in {"28x28x1": (1, 28, "0.1"), "32x32x3": (3, 32, "2/255")}.items():
        torch.manual_seed(0)
        shape = (channels, side, side)
        networks[name] = models.ARCHITECTURES["cnn_a"](shape, 10).eval(), torch.rand(32, *shape), Ball("linf", radius)
    return networks


def measure(graph: Graph, x: Tensor, ball: Ball, method: Callable[..., LowerBounds], arithmetic: Arithmetic) -> dict:
    """Return the CPU seconds, peak memory and mean bound of a method."""
    predicted = graph(x).argmax(dim=1)
    run = partial(method, graph, Domain.of(ball, x), margins(predicted, graph.classes), arithmetic=arithmetic)
    seconds = min(cpu_seconds(run) for _ in range(3))
    return {"seconds": seconds, "mebibytes": memory_growth(run, calls=1), "mean": run().rows.mean().item()}


def run_random(peer: Path | None) -> None:
    methods = {"crown-ibp": METHODS["crown-ibp"], "crown": METHODS["crown"], "optimised": partial(optimised, steps=5)}
    for name, (module, x, ball) in random_networks().items():
        graph = capture(module, tuple(x.shape[1:]))
        if peer is not None:
            report(name, "auto_LiRPA CROWN", peer_crown(peer, module, x, ball))
        for method, bound in methods.items():
            for arithmetic in (PLAIN, REAL, FLOAT32):
                report(name, f"{method} ({arithmetic.name})", measure(graph, x, ball, bound, arithmetic))


def run_narrow() -> None:
    """Report the methods on a network of few inputs and wide layers, random weights."""
    torch.manual_seed(0)
    layers = [nn.Linear(8, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()]
    module, x = nn.Sequential(*layers, nn.Linear(512, 5)).eval(), torch.rand(32, 8)
    graph = capture(module, (8,))
    domain, rows = Domain.of(Ball("linf", "1/50"), x), margins(module(x).argmax(dim=1), 5)
    for method in ("interval", "crown-ibp", "forward", "crown"):
        run = partial(METHODS[method], graph, domain, rows, arithmetic=REAL)
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
        domain, rows = Domain.of(ball, x), margins(predicted, graph.classes)
        report(name, "correct", {"count": int(right.sum())})
        for method in methods_of("auto", graph, ball.norm):
            bound = METHODS[method]
            found: list[LowerBounds] = []
            seconds = cpu_seconds(lambda: found.append(bound(graph, domain, rows)))  # noqa: B023
            certified = right & (found[-1].rows > 0).all(dim=1)
            report(name, method, {"seconds": seconds, "certified": int(certified.sum())})


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
    return Classifier(loaded.module, loaded.mean, loaded.std), x, y


def peer_crown(path: Path, module: nn.Module, x: Tensor, ball: Ball) -> dict:
    """Return the same figures for auto_LiRPA's CROWN (float32, no rounding covered)."""
    sys.path.insert(0, str(path))
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm  # pyright: ignore[reportMissingImports]

    bounded = BoundedModule(module, x)
    low, high = (x - float(ball.radius)).clamp(min=0), (x + float(ball.radius)).clamp(max=1)
    around = BoundedTensor(x, PerturbationLpNorm(x_L=low, x_U=high))
    rows = margins(module(x).argmax(dim=1), 10).float()

    def run() -> Tensor:
        return bounded.compute_bounds(x=(around,), C=rows, method="CROWN", bound_upper=False)[0]

    seconds = min(cpu_seconds(run) for _ in range(3))
    return {"seconds": seconds, "mebibytes": memory_growth(run, calls=1), "mean": run().mean().item()}


def report(network: str, what: str, figures: dict) -> None:
    shown = "  ".join(f"{name} {value:.5g}" for name, value in figures.items() if value is not None)
    sys.stdout.write(f"{network:20} {what:24} {shown}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["random", "narrow", "published"])
    parser.add_argument("names", nargs="*", help="published networks; all if left out")
    parser.add_argument("--peer", type=Path)
    options = parser.parse_args()
    single_threaded()
    match options.what:
        case "random":
            run_random(options.peer)
        case "narrow":
            run_narrow()
        case _:
            run_published(options.names)


if __name__ == "__main__":
    main()
