"""What a step of training costs: epsball's engine against the bare minimal loop.

The bare loop of PGD is K forwards and input gradients and one outer step; that of TRADES has one
forward for the target besides, and clean and adversarial inputs in the outer step. Both in
float32, plain layout, frozen while searching.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/training.py
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

BARE, OURS, REDUCED = "bare loop", "epsball", "epsball bf16"
RATE = 1e-3
GOALS = {OURS: 1.15, REDUCED: 0.6}

Step = Callable[[Tensor, Tensor], None]


def network(name: str) -> nn.Module:
    """Return a network for MNIST with the weights of seed 0."""
    torch.manual_seed(0)
    return eb.models.load(name, shape=(1, 28, 28), classes=10).module


def bare(module: nn.Module, kind: str, radius: float, steps: int) -> Step:
    """Return one step of training as one writes it by hand."""
    optimiser = torch.optim.SGD(module.parameters(), lr=RATE, momentum=0.9, nesterov=True)

    def search(x: Tensor, start: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        low, high = (x - radius).clamp(min=0), (x + radius).clamp(max=1)
        x_adv = (x + start).clamp(0, 1)
        for _ in range(steps):
            x_adv = x_adv.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(module(x_adv)), x_adv)
            x_adv = x_adv.detach().add(gradient.sign(), alpha=2.5 * radius / steps).clamp(low, high)
        return x_adv

    def pgd(x: Tensor, y: Tensor) -> Tensor:
        start = torch.empty_like(x).uniform_(-radius, radius)
        x_adv = frozen(module, lambda: search(x, start, lambda z: functional.cross_entropy(z, y, reduction="sum")))
        return functional.cross_entropy(module(x_adv), y)

    def trades(x: Tensor, y: Tensor) -> Tensor:
        def inner() -> Tensor:
            with torch.no_grad():
                target = module(x).softmax(1)
            return search(
                x,
                0.001 * torch.randn_like(x),
                lambda z: functional.kl_div(z.log_softmax(1), target, reduction="sum"),
            )

        natural, adversarial = module(torch.cat([x, frozen(module, inner)])).chunk(2)
        divergence = functional.kl_div(adversarial.log_softmax(1), natural.softmax(1), reduction="batchmean")
        return functional.cross_entropy(natural, y) + 6.0 * divergence

    def step(x: Tensor, y: Tensor) -> None:
        loss = {"pgd": pgd, "trades": trades}[kind](x, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def frozen(module: nn.Module, search: Callable[[], Tensor]) -> Tensor:
    """Return what a search finds with the module in evaluation mode and its parameters frozen."""
    module.eval().requires_grad_(False)
    x_adv = search()
    module.train().requires_grad_(True)
    return x_adv


def ours(
    module: nn.Module, data: tuple[Tensor, Tensor], kind: str, ball: eb.Ball, steps: int, precision: str
) -> Stepper:
    """Return epsball's engine, ready for its first step."""
    objective = {
        "pgd": eb.training.PGD(ball=ball, steps=steps),
        "trades": eb.training.TRADES(ball=ball, steps=steps, beta=6.0),
    }[kind]
    recipe = eb.training.Recipe(
        epochs=1000, batch_size=128, lr=RATE, weight_decay=0.0, schedule="constant", precision=precision, holdout=0.01
    )
    task, _ = prepare(module, data, objective, None, None, None, recipe)
    run = Stepper(task)
    run.begin()
    return run


def measure(kind: str, name: str, ball: eb.Ball, steps: int, repetitions: int) -> dict[str, list[float]]:
    """Return CPU seconds of two optimiser's steps of each contender, by name."""
    x, y = images(Task(network=name, ball=str(ball)), "train", 2048)
    step = bare(network(name), kind, float(ball.radius), steps)

    def by_hand() -> None:
        for rows in (slice(0, 128), slice(128, 256)):
            step(x[rows], y[rows])

    runs: dict[str, harness.Run] = {BARE: by_hand, f"{BARE} again": by_hand}
    for label, precision in ((OURS, "float32"), (REDUCED, "bf16")):
        run = ours(network(name), (x, y), kind, ball, steps, precision)

        def advance(run: Stepper = run) -> None:
            run.advance()
            run.advance()
            run.drain()

        runs[label] = advance
    return harness.interleaved(runs, repetitions, seed=0)


def main() -> None:
    """Print a table an objective, and write every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="small_cnn")
    parser.add_argument("--ball", default="linf:0.3")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/training.json"))
    options = parser.parse_args()
    harness.single_threaded()
    written = {}
    for kind in ("pgd", "trades"):
        ball = eb.Ball.parse(options.ball)
        seconds = measure(kind, options.network, ball, options.steps, options.repetitions)
        rows = []
        for name in seconds:
            ratio = harness.ratio(seconds, name, BARE)
            reached = f"{ratio.median <= GOALS[name]} (<= {GOALS[name]})" if name in GOALS else ""
            cells = (
                f"{ratio.median:.3f}",
                f"{ratio.lower:.2f}-{ratio.upper:.2f}",
                f"{ratio.least:.2f}-{ratio.most:.2f}",
            )
            rows.append((name, f"{harness.Spread.of(seconds[name]).median:.2f}", *cells, reached))
        print(f"\n== {kind}-{options.steps}, {options.network}, {ball}, batches of 128")
        print(text_table(("contender", "CPU s", "ratio", "quartiles", "range", "goal"), rows), flush=True)
        written[kind] = seconds
    write_json(options.output, jsonable({"machine": harness.machine(), "options": str(options), "seconds": written}))


if __name__ == "__main__":
    main()
