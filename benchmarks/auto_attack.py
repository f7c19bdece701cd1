"""AutoAttack by its reference implementation and by epsball, and epsball's `Ensemble`, on defended networks.

Run as ``python benchmarks/auto_attack.py --peer FOLDER``; see README.md beside this file. The reference
(github.com/fra31/auto-attack) takes part where its checkout is named, or where ``import autoattack`` finds it.
"""

import argparse
import gc
import importlib
import importlib.util
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

import epsball as eb
import harness
from auto_attack_tables import BARE_OF, CERTIFIED, CERTIFYING, REFERENCE, Outcome, Stage, tables
from contenders import BareCalls, bare_pass
from defended import NETWORKS
from epsball.attacks import PGD
from epsball.files import write_json
from epsball.results import jsonable

BATCH = 250
CERTIFICATE_BUDGET = 5_000
"""Passes per example, those of the audit's effort ``quick``."""
SIEVE = PGD(steps=10)
"""The audit's short attack; what it breaks is not certified."""
NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a contender gets: a module that counts its passes, images, labels, a ball and a seed."""

    module: nn.Module
    passes: harness.Passes
    x: Tensor
    y: Tensor
    ball: eb.Ball
    seed: int

    def stage(self, name: str, standing: Tensor) -> Stage:
        """Return what has been spent up to the end of a component, and how many images are unbroken then."""
        passes = self.passes.forward + self.passes.backward
        return Stage(name=name, passes=passes, standing=int(standing.sum()))


Contender = Callable[[Problem], tuple[Tensor, list[Stage]]]
"""Maps a problem to the images left unbroken, and their number after each component."""


def reference(problem: Problem) -> tuple[Tensor, list[Stage]]:
    """Run the reference's version standard, attack by attack as it does, without its checks of the model."""
    module, x, y, seed = problem.module, problem.x, problem.y, problem.seed
    suite = importlib.import_module("autoattack").AutoAttack(
        module,
        norm=NAMES[problem.ball.norm],
        eps=float(problem.ball.radius),
        seed=seed,
        version="standard",
        device="cpu",
        verbose=False,
    )
    suite.apgd.loss, suite.fab.targeted, suite.fab.n_restarts = "ce", True, 1
    attacks = {"apgd-ce": suite.apgd, "apgd-t": suite.apgd_targeted, "fab-t": suite.fab, "square": suite.square}
    with torch.no_grad():
        standing = module(x).argmax(1) == y
    stages = [problem.stage("natural", standing)]
    for name, attack in attacks.items():
        attack.seed = seed
        rows = torch.nonzero(standing)[:, 0]
        if len(rows):
            x_adv = attack.perturb(x[rows].clone(), y[rows].clone())
            with torch.no_grad():
                standing[rows[module(x_adv).argmax(1) != y[rows]]] = False
        stages.append(problem.stage(name, standing))
    return standing, stages


def ours(method: str) -> Contender:
    """Return one of epsball's attacks as a contender."""

    def run(problem: Problem) -> tuple[Tensor, list[Stage]]:
        return searched(problem, method, problem.x, problem.y)

    return run


def searched(problem: Problem, method: str, x: Tensor, y: Tensor) -> tuple[Tensor, list[Stage]]:
    """Run one of epsball's attacks; the passes of its components are those of the ledger, padding left out."""
    result = eb.attack(
        eb.Classifier(problem.module), x, y, problem.ball, method=method, seed=problem.seed, batch_size=BATCH
    )
    found = Counter(name for name in result.by if name is not None)
    standing, spent = int((~result.broken).sum()) + found.total(), len(y)
    stages = [Stage(name="natural", passes=spent, standing=standing)]
    searching = result.ledger.searching().tolist()
    for name in dict.fromkeys(name for name, own in zip(result.ledger.attack, searching, strict=True) if own):
        _, forwards, backwards = result.ledger.summary()[name]
        spent, standing = spent + forwards + backwards, standing - found[name]
        stages.append(Stage(name=name, passes=spent, standing=standing))
    return ~result.broken, stages


@dataclass(frozen=True, kw_only=True)
class Proofs:
    """Which images are certified, which else are classified right, and what finding out cost."""

    certified: Tensor
    right: Tensor
    passes: int
    seconds: float


@cache
def proofs(network: str, count: int, method: str) -> Proofs:
    """Certify what a short attack leaves unbroken, as the audit does; once for all seeds, the attack's is 0."""
    module, x, y = NETWORKS[network].load(count)
    begun = time.process_time()
    ball, classifier = eb.Ball.parse(NETWORKS[network].ball), eb.Classifier(module)
    sieved = eb.attack(classifier, x, y, ball, method=SIEVE)
    rows = torch.nonzero(~sieved.broken)[:, 0]
    found = eb.certify(classifier, x[rows], y[rows], ball, method=method, budget=CERTIFICATE_BUDGET)
    with torch.no_grad():
        right = module(x).argmax(1) == y
    return Proofs(
        certified=torch.zeros_like(right).index_put((rows,), found.certified),
        right=right,
        passes=int(found.passes.sum()) + sum(sieved.ledger.passes),
        seconds=time.process_time() - begun,
    )


def after(proved: Proofs) -> Contender:
    """Return the `Ensemble` on what is classified right and has no certificate, as a contender."""

    def run(problem: Problem) -> tuple[Tensor, list[Stage]]:
        standing, certified = proved.certified.clone(), int(proved.certified.sum())
        rows, right = torch.nonzero(proved.right & ~standing)[:, 0], int(proved.right.sum())
        stages = [Stage(name="natural", passes=0, standing=right)]
        stages.append(Stage(name=CERTIFIED, passes=proved.passes, standing=right))
        if len(rows):
            standing[rows], later = searched(problem, "ensemble", problem.x[rows], problem.y[rows])
            stages += [
                Stage(name=s.name, passes=s.passes + proved.passes, standing=s.standing + certified) for s in later[1:]
            ]
        return standing, stages

    return run


CONTENDERS: dict[str, Contender] = {
    REFERENCE: reference,
    "autoattack": ours("autoattack"),
    "ensemble": ours("ensemble"),
}
NAMED = (*CONTENDERS, *CERTIFYING)


def measure(name: str, contender: str, seed: int, count: int) -> Outcome:
    """Run one contender once, its passes counted by hooks; bounds cost what the certificates say."""
    module, x, y = NETWORKS[name].load(count)
    ball = eb.Ball.parse(NETWORKS[name].ball)
    proved = proofs(name, count, CERTIFYING[contender]) if contender in CERTIFYING else None
    container, passes = harness.counted(module)
    problem = Problem(module=container.eval(), passes=passes, x=x, y=y, ball=ball, seed=seed)
    run = CONTENDERS[contender] if proved is None else after(proved)
    timed = contender in BARE_OF
    plain, calls = [], []
    if timed:
        plain, calls = [bare_pass(module, x[:BATCH], y[:BATCH])], [BareCalls.of(module, x, y)]
    begun = time.process_time()
    standing, stages = run(problem)
    seconds = time.process_time() - begun
    bare = same_calls = 0.0
    if timed:
        calls.append(BareCalls.of(module, x, y))
        plain.append(bare_pass(module, x[:BATCH], y[:BATCH]))
        forward, both = (sum(times) / 2 for times in zip(*plain, strict=True))
        bare = (passes.forward - passes.backward) * forward + passes.backward * both
        same_calls = sum(times.seconds(passes) for times in calls) / 2
    return Outcome(
        contender=contender,
        network=name,
        seed=seed,
        images=len(y),
        accuracy=float(standing.double().mean()),
        forward=passes.forward + (proved.passes if proved else 0),
        backward=passes.backward,
        seconds=seconds + (proved.seconds if proved else 0.0),
        bare=bare,
        same_calls=same_calls,
        stages=tuple(stages),
        standing=standing.tolist(),
    )


def arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="checkout of the reference")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--contenders", nargs="+", choices=NAMED, default=NAMED)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/autoattack.json"))
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="files of earlier runs for the tables")
    return parser.parse_args()


def earlier(files: list[Path]) -> list[Outcome]:
    """Return the outcomes of earlier runs."""
    rows = [row for file in files for row in json.loads(file.read_text())["outcomes"]]
    return [Outcome(**{**row, "stages": tuple(Stage(**stage) for stage in row["stages"])}) for row in rows]


def main() -> None:
    """Run every network and seed, contenders in random order; print tables and write every run."""
    options = arguments()
    harness.single_threaded()
    # Without this, collecting the imports' garbage before each timing would leave cold caches to the plain passes.
    gc.freeze()
    if options.peer is not None:
        sys.path.insert(0, str(options.peer))
    present = importlib.util.find_spec("autoattack") is not None
    if not present and REFERENCE in options.contenders and options.seeds:
        print("the reference does not take part: `import autoattack` finds nothing; name its checkout by --peer")
    names = [name for name in options.contenders if present or name != REFERENCE]
    outcomes: list[Outcome] = []
    shuffler = random.Random(0)
    for network in options.networks:
        for seed in options.seeds:
            for name in shuffler.sample(names, len(names)):
                outcomes.append(measure(network, name, seed, options.images))
                print(f"{network}, seed {seed}, {name}: {outcomes[-1].accuracy:.3f}", flush=True)
            document = {"machine": harness.machine(), "outcomes": [asdict(outcome) for outcome in outcomes]}
            write_json(options.output, jsonable(document))
    print(tables([*earlier(options.earlier), *outcomes]))


if __name__ == "__main__":
    main()
