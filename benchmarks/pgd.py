"""PGD-40 by hand, by epsball and by other libraries, on two networks and two balls.

Run as ``python benchmarks/pgd.py``; see README.md beside this file.
"""

import argparse
import itertools
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import epsball as eb
import harness
from contenders import BARE, CONTENDERS
from epsball.files import write_json
from epsball.results import jsonable, text_table
from task import CIFAR10, Attack, Task, Unavailable, images, network

NETWORKS = ("small_cnn", "cnn_a")
BALLS = ("linf:0.1", "l2:1.5")
UNDEFENDED = [
    Task(network="small_cnn", ball="linf:0.3"),
    *([Task(network="small_cnn", data="cifar10", ball="linf:8/255")] if CIFAR10.exists() else []),
]
"""Where leaving at the first witness should pay: networks without defence at their data's usual radius."""
SLACK = 1e-5
"""How far, in units of radius and box, another library's point may lie outside and still count as its witness."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one contender reached on one task.

    Parameters
    ----------
    seconds
        CPU seconds of each repetition.
    ratio
        Its time over the bare loop's.
    forward, backward
        Passes per image.
    memory
        Growth of peak resident memory in MiB.
    accuracy, outside
        See `judged`.
    """

    name: str
    seconds: list[float]
    ratio: harness.Spread
    forward: float
    backward: float
    memory: float | None
    accuracy: float
    outside: int


def made(task: Task, module: nn.Module, names: Sequence[str]) -> tuple[dict[str, Attack], dict[str, str]]:
    """Return the contenders that can take part, and why the others cannot."""
    attacks: dict[str, Attack] = {}
    skipped: dict[str, str] = {}
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations inside other libraries
                attacks[name] = CONTENDERS[name](task, module)
        except (ImportError, RuntimeError, Unavailable) as error:
            skipped[name] = f"{type(error).__name__}: {error}"
    return attacks, skipped


def passes(task: Task, module: nn.Module, name: str, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return forward and backward passes per image."""
    container, count = harness.counted(module)
    CONTENDERS[name](task, container.eval())(x, y)
    return count.forward / len(x), count.backward / len(x)


def judged(task: Task, module: nn.Module, attack: Attack, x: Tensor, y: Tensor) -> tuple[float, int]:
    """Return accuracy under attack, one rule for all contenders, and how many witnesses are outside.

    A misclassified point counts if it lies in ball and box up to `SLACK`, float32's rounding; of these,
    outside are the ones that do not lie in them exactly.
    """
    torch.manual_seed(0)
    batches = zip(x.split(task.batch), y.split(task.batch), strict=True)
    x_adv = torch.cat([attack(*batch) for batch in batches]).detach()
    with torch.no_grad():
        wrong = torch.cat([module(points) for points in x_adv.split(task.batch)]).argmax(1) != y
    ball = eb.Ball.parse(task.ball)
    in_box = ((x_adv >= -SLACK) & (x_adv <= 1 + SLACK)).flatten(1).all(1)
    broken = wrong & in_box & (ball.distance(x_adv, x) <= task.radius * (1 + SLACK))
    outside = broken & ~ball.contains(x_adv, x)
    return 1 - float(broken.double().mean()), int(outside.sum())


def memory(task: Task, name: str) -> float | None:
    """Return the growth of peak memory of one contender; for a process of its own."""
    harness.single_threaded()
    module = network(task)
    x, y = images(task, "test", task.batch)
    attacks, _ = made(task, module, [name])
    return harness.memory_growth(lambda: attacks[name](x, y))


def measure(
    task: Task, names: Sequence[str], repetitions: int, count: int, seed: int
) -> tuple[list[Outcome], dict[str, str]]:
    """Return what each contender reached on a task, and who could not take part."""
    module = network(task)
    x, y = images(task, "test", count)
    attacks, skipped = made(task, module, names)
    batch = x[: task.batch], y[: task.batch]
    runs = {name: (lambda attack=attack: attack(*batch)) for name, attack in attacks.items()}
    seconds = harness.interleaved(runs, repetitions, seed)
    outcomes = []
    for name, attack in attacks.items():
        forward, backward = passes(task, module, name, *batch)
        accuracy, outside = judged(task, module, attack, x, y)
        outcomes.append(
            Outcome(
                name=name,
                seconds=seconds[name],
                ratio=harness.ratio(seconds, name, BARE),
                forward=forward,
                backward=backward,
                memory=harness.in_fresh_process(memory, task, name),
                accuracy=accuracy,
                outside=outside,
            )
        )
    return outcomes, skipped


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table."""
    header = ("contender", "CPU s", "ratio", "quartiles", "range", "fwd", "bwd", "MiB", "accuracy", "outside")
    rows = []
    for o in outcomes:
        r, cpu = o.ratio, harness.Spread.of(o.seconds).median
        cells = [
            f"{cpu:.3f}",
            f"{r.median:.3f}",
            f"{r.lower:.2f}-{r.upper:.2f}",
            f"{r.least:.2f}-{r.most:.2f}",
        ]
        passes = [f"{o.forward:.1f}", f"{o.backward:.1f}"]
        mebibytes = "-" if o.memory is None else f"{o.memory:.1f}"
        rows.append((o.name, *cells, *passes, mebibytes, f"{o.accuracy:.4f}", str(o.outside)))
    return text_table(header, rows)


def goals(outcomes: Sequence[Outcome], network_name: str) -> list[tuple[str, str, bool]]:
    """Return each goal, what was measured, and whether it was reached."""
    by_name = {o.name: o for o in outcomes}
    mine, base = by_name["epsball"], by_name[BARE]
    found = [("float32 at most 1.10 x the bare loop", f"{mine.ratio.median:.3f}", mine.ratio.median <= 1.10)]
    if mine.memory is not None and base.memory:
        grown = mine.memory / base.memory
        found.append(("peak memory at most 1.10 x the bare loop's", f"{grown:.3f}", grown <= 1.10))
    for o in outcomes:
        if o.name in ("bare loop again", "bare loop bf16") or o.name.startswith("epsball") or o is base:
            continue
        against = harness.ratio({"mine": mine.seconds, "its": o.seconds}, "mine", "its")
        worse = against.lower > 1 and o.accuracy <= mine.accuracy
        shown = f"{against.median:.3f} ({against.lower:.2f}-{against.upper:.2f})"
        found.append((f"not slower than {o.name} at its accuracy or below", shown, not worse))
    if "epsball bf16" in by_name:
        half, limit = by_name["epsball bf16"], {"small_cnn": 0.5}.get(network_name, 0.8)
        found.append((f"bf16 at most {limit} x", f"{half.ratio.median:.3f}", half.ratio.median <= limit))
        points = 100 * abs(half.accuracy - mine.accuracy)
        found.append(("bf16 verdicts within 0.3 points", f"{points:.2f}", points <= 0.3))
    return found


def early_exit(task: Task, repetitions: int, count: int, seed: int) -> dict[str, object]:
    """Measure and print what leaving at the first witness saves on an undefended network."""
    names = (BARE, "epsball", "epsball first")
    outcomes, _ = measure(task, names, repetitions, count, seed)
    total = {o.name: o.forward + o.backward for o in outcomes}
    saved = total["epsball"] / total["epsball first"]
    print(f"\n== early exit: undefended {task.network}, {task.data}, {task.ball}\n{table(outcomes)}")
    print(text_table(("goal", "measured", "reached"), [("5 x fewer passes", f"{saved:.1f}", saved >= 5)]))
    return {"task": task, "outcomes": outcomes, "fewer_passes": saved}


def arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--balls", nargs="+", default=BALLS)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--images", type=int, default=1000, help="images for the accuracies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/pgd.json"))
    return parser.parse_args()


def main() -> None:
    """Run every task, print its table and goals, and write everything measured."""
    options = arguments()
    harness.single_threaded()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = [name for name in CONTENDERS if name in {*options.contenders, BARE, "epsball"}]
    results: list[Mapping[str, object]] = []
    for network_name, ball in itertools.product(options.networks, options.balls):
        task = Task(network=network_name, ball=ball)
        outcomes, skipped = measure(task, names, options.repetitions, options.images, options.seed)
        reached = goals(outcomes, network_name)
        print(f"\n== {network_name}, {ball}, PGD-{task.steps}, batch {task.batch}\n{table(outcomes)}")
        print("\n".join(f"skipped {name}: {reason}" for name, reason in skipped.items()))
        print(text_table(("goal", "measured", "reached"), reached), flush=True)
        results.append({"task": task, "outcomes": outcomes, "skipped": skipped, "goals": reached})
    if "epsball first" in names:
        results += [early_exit(task, options.repetitions, options.images, options.seed) for task in UNDEFENDED]
    write_json(options.output, jsonable({"machine": harness.machine(), "results": results}))
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
