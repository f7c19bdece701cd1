"""Minimum-norm attacks: nearest points at equal passes, AttackBench's local optimality, and overhead.

python benchmarks/minimum_norm.py --networks cnn_a --norms l2 --steps 100
"""

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import epsball as eb
from contenders import bare_pass
from epsball.files import write_json
from epsball.results import jsonable, text_table
from harness import counted, cpu_seconds, machine, single_threaded
from minimum_norm_libraries import OTHER_LIBRARIES, UNBUDGETED, Make, Undefined
from task import CIFAR10, MNIST, SHARED

PUBLISHED = Path(__file__).resolve().parents[1] / "examples" / "published.py"
MNIST_DATA, CIFAR10_DATA = f"idx:{MNIST}", f"cifar10:{CIFAR10}"
NETWORKS = {
    "wong_kolter/mnist": ("cnn_a@{models}/wong_kolter/mnist.pth,shape=1x28x28,classes=10", MNIST_DATA),
    "mnist_cnn_a_adv": ("cnn_a@{models}/abcrown/mnist_cnn_a_adv.model,shape=1x28x28,classes=10", MNIST_DATA),
    "cifar_cnn_a_adv": (
        "cnn_a@{models}/abcrown/cifar_cnn_a_adv.model,shape=3x32x32,classes=10,"
        "mean=0.4914:0.4822:0.4465,std=0.2471:0.2435:0.2616",
        CIFAR10_DATA,
    ),
    "resnet2b": (
        f"{PUBLISHED}:resnet2b@{{models}}/abcrown/resnet2b.pth,mean=0.4914:0.4822:0.4465,std=0.2471:0.2435:0.2616",
        CIFAR10_DATA,
    ),
}
TINY = 1e-6
"""Radius of the balls: minimum-norm attacks look beyond, where ties do not count as misclassified."""

LARGEST = {"linf": 1.0, "l2": 10.0, "l1": 100.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What a contender found and spent."""

    distance: Tensor
    forwards: float
    backwards: float
    seconds: float


def ours(text: str) -> Make:
    """Return what makes one of our attacks; its steps are put in for STEPS."""

    def make(module: nn.Module, norm: str, steps: int) -> Callable[[Tensor, Tensor], Tensor]:
        classifier, ball = eb.Classifier(module), eb.Ball(norm, TINY)
        method = eb.attacks.registry.resolve(
            text.format(steps=steps, fab=max(1, 2 * steps // 12), fabt=max(1, steps // 14))
        )
        if norm not in method.norms:
            raise Undefined
        return lambda x, y: eb.attack(classifier, x, y, ball, method=method, stop="never", batch_size=256).nearest

    return make


OURS: dict[str, Make] = {
    "MinimumNorm": ours("minimum-norm,steps={steps}"),
    "DDN": ours("ddn,steps={steps}"),
    "FMN": ours("fmn,steps={steps}"),
    "PDPGD": ours("pdpgd,steps={steps}"),
    "FAB": ours("fab,steps={fab}"),
    "FAB-T": ours("fab-t,steps={fabt}"),
}
OUR_UNBUDGETED: dict[str, Make] = {"DeepFool": ours("deepfool"), "Carlini-Wagner": ours("carlini-wagner-linf")}


def subject(name: str, images: slice) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network with frozen parameters, and the images that it classifies correctly."""
    text, data = NETWORKS[name]
    loaded = eb.models.load(text.format(models=SHARED / "models"))
    classifier = loaded.classifier()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x, y = eb.data.load(data, split="test")[images]
    x = eb.data.as_pixels(x).clone(memory_format=torch.contiguous_format)
    right = classifier(x).argmax(1) == y
    return classifier.network.eval().requires_grad_(False), x[right], y[right]


def measure(make: Make, network: nn.Module, norm: str, steps: int, x: Tensor, y: Tensor) -> Run:
    """Run a contender once; its points are clamped to the box and judged by the network itself."""
    module, passes = counted(network)
    attack = make(module, norm, steps)
    found: list[Tensor] = []
    seconds = cpu_seconds(lambda: found.append(_points(attack(x, y))))
    points = found[-1].clamp(0, 1)
    with torch.no_grad():
        broken = module(points).argmax(1) != y
    distance = eb.Ball(norm, LARGEST[norm] / 10).distance(points, x)
    n = len(x)
    return Run(
        distance=torch.where(broken, distance, torch.inf),
        forwards=passes.forward / n - 1,
        backwards=passes.backward / n,
        seconds=seconds,
    )


def _points(result: Tensor | tuple[Tensor, ...]) -> Tensor:
    return (result[0] if isinstance(result, tuple) else result).detach()


def optimality(runs: dict[str, Run]) -> dict[str, float]:
    """Return AttackBench's local optimality 1 - (A - A*) / (d_max - A*) of every run.

    A is the area under accuracy against distance up to d_max, the mean of the distances clipped there, and
    A* that of the nearest point of all contenders; the clean accuracy here is 1. d_max is the greatest of
    those nearest distances.
    """
    best = torch.stack([run.distance for run in runs.values()]).amin(0)
    greatest = best[best.isfinite()].max()
    least = best.clamp(max=greatest).mean()
    return {
        name: float(1 - (run.distance.clamp(max=greatest).mean() - least) / (greatest - least))
        for name, run in runs.items()
    }


def table(
    network: str, norm: str, steps: int, images: slice, contenders: dict[str, Make], repetitions: int
) -> list[dict[str, object]]:
    """Run all contenders in turn on one network and norm; print and return the rows, with median CPU times."""
    module, x, y = subject(network, images)
    runs: dict[str, Run] = {}
    seconds: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for name, make in contenders.items():
            try:
                runs[name] = measure(make, module, norm, steps, x, y)
                seconds.setdefault(name, []).append(runs[name].seconds)
            except (Undefined, ImportError) as error:
                if isinstance(error, ImportError):
                    print(f"{name} is left out: {error}", file=sys.stderr)
    runs = {name: replace(run, seconds=statistics.median(seconds[name])) for name, run in runs.items()}
    forward, both = bare_pass(module, x, y)
    shares = optimality(runs)
    order = sorted(runs, key=lambda name: -shares[name])
    header = ("attack", "optimality", "median", "found", "forwards", "backwards", "CPU s", "/ bare")
    rows = [
        (
            name,
            shares[name],
            float(runs[name].distance.median()),
            float(runs[name].distance.isfinite().double().mean()),
            round(runs[name].forwards),
            round(runs[name].backwards),
            round(runs[name].seconds, 2),
            round(
                runs[name].seconds / len(x) / (runs[name].forwards * forward + runs[name].backwards * (both - forward)),
                2,
            ),
        )
        for name in order
    ]
    print(f"\n{network}, {norm}, {steps} steps, {len(x)} images\n\n{text_table(header, rows)}", flush=True)
    return [{"network": network, "norm": norm, "steps": steps, **dict(zip(header, row, strict=True))} for row in rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--norms", nargs="+", choices=LARGEST, default=list(LARGEST))
    parser.add_argument("--steps", nargs="+", type=int, default=[100, 500, 1000])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--skip", type=int, default=0, help="test images before the first one taken")
    parser.add_argument("--contenders", nargs="+")
    parser.add_argument("--repetitions", type=int, default=1, help="runs of each contender, in turn")
    parser.add_argument("--unbudgeted", action="store_true", help="attacks that end by their own rules")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/minimum_norm.json"))
    options = parser.parse_args(arguments)
    single_threaded()
    torch.manual_seed(0)
    pool = {**OUR_UNBUDGETED, **UNBUDGETED} if options.unbudgeted else {**OURS, **OTHER_LIBRARIES}
    pool = {name: make for name, make in pool.items() if not options.contenders or name in options.contenders}
    images = slice(options.skip, options.skip + options.images)
    rows = []
    for network in options.networks:
        for norm in options.norms:
            for steps in options.steps[:1] if options.unbudgeted else options.steps:
                if not (options.unbudgeted and norm == "l1"):
                    rows += table(network, norm, steps, images, pool, options.repetitions)
                    write_json(options.output, jsonable({"machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
