"""AutoAttack by its reference implementation and by epsball, and epsball's `Ensemble`, on defended networks.

Run as ``python benchmarks/auto_attack.py``; see README.md beside this file. The reference
(github.com/fra31/auto-attack) takes part where ``import autoattack`` finds it.
"""

import argparse
import importlib
import importlib.util
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import epsball as eb
import harness
from defended import NETWORKS, Defended
from epsball.files import write_json
from epsball.results import jsonable, text_table

BATCH = 250
REFERENCE = "reference"
OURS = ("autoattack", "ensemble")
NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one contender reached on one network with one seed.

    Parameters
    ----------
    accuracy
        Share of the images that stand.
    forward, backward, seconds
        Passes of everything it did, and CPU time.
    found
        Examples broken by each component.
    standing
        Which images stand.
    """

    contender: str
    network: str
    seed: int
    accuracy: float
    forward: int
    backward: int
    seconds: float
    found: dict[str, int]
    standing: list[bool]


Contender = Callable[[nn.Module, Tensor, Tensor, eb.Ball, int], tuple[Tensor, dict[str, int]]]
"""Maps (module, x, y, ball, seed) to which images stand, and how many each component broke."""


def reference(module: nn.Module, x: Tensor, y: Tensor, ball: eb.Ball, seed: int) -> tuple[Tensor, dict[str, int]]:
    """Run the reference's version standard, attack by attack, without its checks of the model."""
    suite = importlib.import_module("autoattack").AutoAttack(
        module,
        norm=NAMES[ball.norm],
        eps=float(ball.radius),
        seed=seed,
        version="standard",
        device="cpu",
        verbose=False,
    )
    suite.apgd.loss, suite.fab.targeted, suite.fab.n_restarts = "ce", True, 1
    attacks = {"apgd-ce": suite.apgd, "apgd-t": suite.apgd_targeted, "fab-t": suite.fab, "square": suite.square}
    with torch.no_grad():
        standing = module(x).argmax(1) == y
    found = {}
    for name, attack in attacks.items():
        attack.seed = seed
        rows = torch.nonzero(standing)[:, 0]
        if len(rows):
            x_adv = attack.perturb(x[rows].clone(), y[rows].clone())
            with torch.no_grad():
                fooled = module(x_adv).argmax(1) != y[rows]
            standing[rows[fooled]] = False
            found[name] = int(fooled.sum())
    return standing, found


def ours(method: str) -> Contender:
    """Return one of epsball's attacks as a contender."""

    def run(module: nn.Module, x: Tensor, y: Tensor, ball: eb.Ball, seed: int) -> tuple[Tensor, dict[str, int]]:
        result = eb.attack(eb.Classifier(module), x, y, ball, method=method, seed=seed, batch_size=BATCH)
        return ~result.broken, dict(Counter(name for name in result.by if name is not None))

    return run


CONTENDERS: dict[str, Contender] = {REFERENCE: reference, **{name: ours(name) for name in OURS}}


def measure(name: str, network: Defended, contender: str, seed: int, count: int) -> Outcome:
    """Run one contender once, its passes counted by hooks."""
    module, x, y = network.load(count)
    container, passes = harness.counted(module)
    begun = time.process_time()
    standing, found = CONTENDERS[contender](container.eval(), x, y, eb.Ball.parse(network.ball), seed)
    return Outcome(
        contender=contender,
        network=name,
        seed=seed,
        seconds=time.process_time() - begun,
        accuracy=float(standing.double().mean()),
        forward=passes.forward,
        backward=passes.backward,
        found=found,
        standing=standing.tolist(),
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a line a run, with its share of the reference's passes and time for the same network and seed."""
    base = {(o.network, o.seed): o for o in outcomes if o.contender == REFERENCE}
    header = ("network", "seed", "contender", "accuracy", "forward", "backward", "CPU s", "passes", "time", "found by")
    rows = []
    for o in sorted(
        outcomes, key=lambda o: (list(NETWORKS).index(o.network), o.seed, list(CONTENDERS).index(o.contender))
    ):
        against = base.get((o.network, o.seed))
        shares = (
            ("-", "-")
            if against is None
            else (
                f"{(o.forward + o.backward) / (against.forward + against.backward):.3f}",
                f"{o.seconds / against.seconds:.3f}",
            )
        )
        found = ", ".join(f"{name} {number}" for name, number in o.found.items() if number)
        cells = (f"{o.accuracy:.3f}", str(o.forward), str(o.backward), f"{o.seconds:.1f}", *shares, found)
        rows.append((o.network, str(o.seed), o.contender, *cells))
    return text_table(header, rows)


def goals(outcomes: Sequence[Outcome]) -> str:
    """Return, for each network, whether accuracy, passes and time reach what was set out."""
    rows = []
    for network in dict.fromkeys(o.network for o in outcomes):
        of = {name: [o for o in outcomes if (o.network, o.contender) == (network, name)] for name in CONTENDERS}
        if not of[REFERENCE]:
            continue
        highest = max(o.accuracy for o in of[REFERENCE])
        cost, seconds = (_mean(of[REFERENCE], unit) for unit in (_passes, _seconds))
        for name, share in (("autoattack", 1.25), ("ensemble", 0.2)):
            if of[name]:
                worst = max(o.accuracy for o in of[name])
                passes, time_share = _mean(of[name], _passes) / cost, _mean(of[name], _seconds) / seconds
                reached = worst <= highest and passes <= share and time_share <= share
                rows.append(
                    (network, name, f"{worst:.3f} <= {highest:.3f}", f"{passes:.3f}", f"{time_share:.3f}", str(reached))
                )
    return text_table(("network", "contender", "highest accuracy", "passes", "time", "reached"), rows)


def _passes(outcome: Outcome) -> float:
    return outcome.forward + outcome.backward


def _seconds(outcome: Outcome) -> float:
    return outcome.seconds


def _mean(outcomes: Sequence[Outcome], of: Callable[[Outcome], float]) -> float:
    return sum(map(of, outcomes)) / len(outcomes)


def arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/autoattack.json"))
    return parser.parse_args()


def main() -> None:
    """Run every network and seed, contenders in random order; print tables and write every run."""
    options = arguments()
    harness.single_threaded()
    present = importlib.util.find_spec("autoattack") is not None
    names = [name for name in options.contenders if present or name != REFERENCE]
    outcomes: list[Outcome] = []
    shuffler = random.Random(0)
    for network in options.networks:
        for seed in options.seeds:
            for name in shuffler.sample(names, len(names)):
                outcomes.append(measure(network, NETWORKS[network], name, seed, options.images))
                print(f"{network}, seed {seed}, {name}: {outcomes[-1].accuracy:.3f}", flush=True)
        write_json(options.output, jsonable({"machine": harness.machine(), "outcomes": outcomes}))
    print(f"{table(outcomes)}\n\n{goals(outcomes)}\nwritten: {options.output}")


if __name__ == "__main__":
    main()
