"""What certified training costs: a step of `ibp` against the bare loop of its passes, `crown-ibp` in standard steps.

The bare loop of IBP carries middles and half-widths through the layers, folds the differences of the logits into the
last one, and takes the natural loss besides. One standard step is a forward and a backward pass of the batch.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/certified_training.py
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import epsball as eb
import harness
from epsball.files import write_json
from epsball.results import jsonable, text_table
from epsball.training.engine.step import Stepper
from epsball.training.prepare import prepare
from task import Task, images
from training import network

BALL, RATE, ROWS = "linf:0.1", 1e-3, 256
STANDARD, BARE = "standard", "ibp, bare loop"
GOALS = {"ibp": (BARE, 1.15), "crown-ibp, fused": (STANDARD, 6.0)}
TEXTS = {
    "ibp": "ibp,clip=0",
    "crown-ibp, fused": "crown-ibp,beta=1,kappa=0.5,fusion=loss,clip=0",
    "crown-ibp, rows": "crown-ibp,beta=1,kappa=0.5,clip=0",
    "sabr": "sabr,clip=0",
    "mtl-ibp": "mtl-ibp,clip=0",
}


def bare(module: nn.Sequential, intervals: bool) -> Callable[[Tensor, Tensor], None]:
    """Return a step of standard training, or of IBP, as one writes it by hand for `cnn_a`."""
    optimiser = torch.optim.SGD(module.parameters(), lr=RATE, momentum=0.9, nesterov=True)
    radius = float(eb.Ball.parse(BALL).radius)

    def worst(x: Tensor, y: Tensor) -> Tensor:
        low, high = (x - radius).clamp(min=0), (x + radius).clamp(max=1)
        middle, half = (low + high) / 2, (high - low) / 2
        for layer in list(module)[:-1]:
            if isinstance(layer, nn.Conv2d):
                middle = layer(middle)
                half = functional.conv2d(half, layer.weight.abs(), None, layer.stride, layer.padding)
            elif isinstance(layer, nn.Linear):
                middle, half = layer(middle), half @ layer.weight.abs().T
            elif isinstance(layer, nn.ReLU):
                low, high = (middle - half).clamp(min=0), (middle + half).clamp(min=0)
                middle, half = (low + high) / 2, (high - low) / 2
            else:
                middle, half = layer(middle), layer(half)
        rows = torch.eye(10)[y][:, None] - torch.eye(10)
        weight = rows @ module[-1].weight
        least = weight @ middle[:, :, None] - weight.abs() @ half[:, :, None]
        return functional.cross_entropy(-(least[..., 0] + rows @ module[-1].bias), y)

    def step(x: Tensor, y: Tensor) -> None:
        loss = functional.cross_entropy(module(x), y)
        if intervals:
            loss = 0.5 * loss + 0.5 * worst(x, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def ours(text: str, name: str, data: tuple[Tensor, Tensor]) -> Stepper:
    """Return epsball's engine, ready for its first step."""
    recipe = eb.training.Recipe(
        epochs=1000, batch_size=ROWS, lr=RATE, weight_decay=0.0, schedule="constant", holdout=0.01
    )
    objective = eb.training.resolve(text, eb.Ball.parse(BALL))
    task, _ = prepare(network(name), data, objective, None, None, None, recipe)
    run = Stepper(task)
    run.begin()
    return run


def measure(name: str, repetitions: int) -> dict[str, list[float]]:
    """Return CPU seconds of one step of each contender, by name."""
    x, y = images(Task(network=name, ball=BALL), "train", 4 * ROWS)
    runs: dict[str, harness.Run] = {}
    for label, intervals in ((STANDARD, False), (BARE, True), (f"{BARE} again", True)):
        step = bare(network(name), intervals)
        runs[label] = lambda step=step: step(x[:ROWS], y[:ROWS])
    for label, text in TEXTS.items():
        run = ours(text, name, (x, y))

        def advance(run: Stepper = run) -> None:
            run.advance()
            run.drain()

        runs[label] = advance
    return harness.interleaved(runs, repetitions, seed=0)


def main() -> None:
    """Print the ratios, and write every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="cnn_a")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/certified_training.json"))
    options = parser.parse_args()
    harness.single_threaded()
    seconds = measure(options.network, options.repetitions)
    rows = []
    for name in seconds:
        baseline, goal = GOALS.get(name, (BARE if name.startswith("ibp") else STANDARD, None))
        ratio = harness.ratio(seconds, name, baseline)
        reached = "" if goal is None else f"{ratio.median <= goal} (<= {goal})"
        cells = f"{ratio.median:.2f}", f"{ratio.lower:.2f}-{ratio.upper:.2f}", f"{ratio.least:.2f}-{ratio.most:.2f}"
        rows.append((name, f"{harness.Spread.of(seconds[name]).median:.3f}", baseline, *cells, reached))
    print(f"== {options.network}, {BALL}, one step of {ROWS} images")
    print(text_table(("contender", "CPU s", "ratio to", "median", "quartiles", "range", "goal"), rows))
    write_json(options.output, jsonable({"machine": harness.machine(), "options": str(options), "seconds": seconds}))


if __name__ == "__main__":
    main()
