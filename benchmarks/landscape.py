"""Points per second of a landscape against the bare network's, in one thread.

The bare contender runs the network on points that are there already, block by block, at every batch size of
`ROWS`; the landscape makes its points, runs the checked classifier, and keeps margin, cross-entropy and class. Run as
``python benchmarks/landscape.py``; see README.md beside this file.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import epsball as eb
import harness
from epsball.files import write_json
from epsball.masking.landscape.subject import Subject
from epsball.masking.landscape.sweep import Sweep, spaced
from epsball.results import jsonable, text_table

ROWS = (16, 64, 256)
GOAL = 0.9
SHAPES = {"mlp": (1, 28, 28), "small_cnn": (1, 28, 28), "cnn_a": (3, 32, 32), "preact_resnet18": (3, 32, 32)}
POINTS = {"mlp": 61, "small_cnn": 31, "cnn_a": 61, "preact_resnet18": 9}
"""Points per axis."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one network reached.

    Parameters
    ----------
    rows
        Points per pass that the landscape chose.
    seconds
        CPU seconds of each contender's repetitions.
    throughput
        The landscape's points per second over the bare network's: at the same batch size, and at its best one.
    """

    network: str
    rows: int
    seconds: dict[str, list[float]]
    throughput: dict[str, harness.Spread]


def bare(module: nn.Module, points: Tensor, rows: int) -> Callable[[], Tensor]:
    """Return a run of the network alone."""

    def run() -> Tensor:
        with torch.no_grad():
            return torch.cat([module(block) for block in points.split(rows)])

    return run


def measure(network: str, repetitions: int, seed: int) -> Outcome:
    """Return the outcome of one network, with random weights: they cost the same."""
    torch.manual_seed(0)
    shape = SHAPES[network]
    module = eb.models.load(network, shape=shape, classes=10).module.eval().requires_grad_(False)
    classifier, x, y = eb.Classifier(module), torch.rand(1, *shape), torch.tensor([0])
    v1, v2 = (0.1 * torch.randn(shape) for _ in range(2))
    axis = spaced(1.5, POINTS[network])
    e1, e2 = axis.repeat(len(axis)), axis.repeat_interleave(len(axis))
    points = x + e1.float().view(-1, 1, 1, 1) * v1 + e2.float().view(-1, 1, 1, 1) * v2
    with classifier.in_use():
        sweep = Sweep(Subject.of(classifier, x, y, eb.Ball("linf", 0.1), 0))
        runs = {f"bare {rows}": bare(module, points, rows) for rows in sorted({*ROWS, sweep.rows})}
        runs["landscape"] = lambda: sweep.heights(0, (v1, v2), axis, axis)
        seconds = harness.interleaved(runs, repetitions, seed)
    best = min((name for name in runs if name != "landscape"), key=lambda name: harness.Spread.of(seconds[name]).median)
    same = f"bare {sweep.rows}"
    throughput = {name: harness.ratio(seconds, rival, "landscape") for name, rival in (("same", same), ("best", best))}
    return Outcome(network=network, rows=sweep.rows, seconds=seconds, throughput=throughput)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table."""
    rows = [
        (
            o.network,
            o.rows,
            *(
                f"{o.throughput[k].median:.3f} ({o.throughput[k].lower:.3f}-{o.throughput[k].upper:.3f})"
                for k in _KINDS
            ),
            o.throughput["best"].median >= GOAL,
        )
        for o in outcomes
    ]
    header = ("network", "rows", "against bare, same batch", "against bare, best batch", f"at least {GOAL}")
    return text_table(header, rows)


_KINDS = ("same", "best")


def main() -> None:
    """Measure every network, print the table, and write everything measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/landscape.json"))
    options = parser.parse_args()
    harness.single_threaded()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    outcomes = [measure(network, options.repetitions, options.seed) for network in options.networks]
    print(table(outcomes))
    write_json(options.output, jsonable({"machine": harness.machine(), "outcomes": outcomes}))
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
