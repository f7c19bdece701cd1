"""Networks whose answer is known, on both sides: whether a certificate or an attack is ever wrong.

    python benchmarks/judges.py [--each 12] [--epochs 3000] [--seeds 7] [--out runs/judges]
    python benchmarks/judges.py --part robust        # or planted

`robust_networks.py` are robust by construction (the proofs: docs/judges.md): an attack that breaks one, a search of
`complete` that ends in a witness, a bound above what an attack finds, or a query answered `sat` is wrong.
`planted_networks.py` have a counterexample in every ball, trained to be missed: a certificate or `unsat` is wrong.

One line per network is appended to the folder; a run that is started again goes on where it stopped.
"""

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

import epsball as eb
import planted_networks
import robust_networks
from epsball.errors import UnsupportedOperation
from harness import single_threaded

ATTACKS = ("pgd,steps=100,restarts=5", "apgd-t", "ensemble")
CHEAP = ("interval", "lipschitz", "crown-ibp", "forward", "crown", "optimised", "wong-kolter")
"""Methods that bound all examples of a network under both claims."""
DEAR, FEW = ("lp", "lp-tight", "sdp"), 1
"""Methods that bound a few examples of each network, and how many; as many are asked as queries."""
SECONDS, LIMIT = 0.3, 3.0
"""CPU seconds of `complete` per example, and seconds of a query."""


@dataclass(kw_only=True, eq=False)
class Judge:
    """One network under examination.

    Parameters
    ----------
    module, x, y, ball
        The network, its examples, their classes, and the ball.
    robust
        Whether every ball is robust; else none is.
    """

    module: nn.Module
    x: Tensor
    y: Tensor
    ball: eb.Ball
    robust: bool
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def examine(self, folder: Path) -> None:
        """Attack, certify and verify."""
        self.classifier = eb.Classifier(self.module)
        least = torch.full((len(self.x),), torch.inf)
        for attack in ATTACKS:
            found = eb.attack(self.classifier, self.x, self.y, self.ball, method=attack, stop="never")
            self.counts[f"broken by {attack.split(',')[0]}"] = int(found.broken.sum())
            least = torch.minimum(least, found.margin)
            self._judge(found.broken, f"{attack} breaks", if_robust=True)
        for semantics in ("real", "float32"):
            for method in CHEAP:
                self._certify(method, semantics, len(self.x), least)
            for method in DEAR:
                self._certify(method, semantics, FEW, least)
        self._certify("complete", "float32", len(self.x), least)
        for at in range(min(FEW, len(self.x))):
            self._verify(at, folder)

    def _certify(self, method: str, semantics: str, count: int, least: Tensor) -> None:
        some = slice(count)
        options = {"cpu_seconds": SECONDS} if method == "complete" else {}
        try:
            found = eb.certify(
                *(self.classifier, self.x[some], self.y[some], self.ball), method=method, semantics=semantics, **options
            )
        except UnsupportedOperation:
            return
        said = f"{method} ({semantics})"
        self.counts[said] += int(found.stable.sum())
        self._judge(found.stable, f"{said} certifies", if_robust=False)
        ended = torch.tensor([found.endings.get(at) == "witness" for at in range(len(found.stable))])
        self.counts[f"{said} witness"] += int(ended.sum())
        self._judge(ended, f"{said} sees a witness of", if_robust=True)
        if semantics == "float32":
            above = torch.nonzero(found.margin > least[some].double()).flatten().tolist()
            self.wrong += [f"{said} bounds example {at} above the margin that an attack found" for at in above]

    def _verify(self, at: int, folder: Path) -> None:
        """Ask of one example whether another class is reached, as a query about an ONNX file."""
        if self.ball.norm != "linf":
            return
        network, query = folder / "network.onnx", folder / "query.vnnlib"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(self.module, (self.x[:1],), str(network), dynamo=False)
        query.write_text(_query(self.x[at], int(self.y[at]), self.classifier(self.x[:1]).shape[1], self.ball))
        answer = eb.verify(network, query, timeout=LIMIT).answer
        self.counts[f"verify: {answer}"] += 1
        self._judge(torch.tensor([answer == "sat"]), f"verify says sat of {at}:", if_robust=True)
        self._judge(torch.tensor([answer == "unsat"]), f"verify says unsat of {at}:", if_robust=False)

    def _judge(self, said: Tensor, what: str, *, if_robust: bool) -> None:
        """Note what is said of examples of which the opposite is true."""
        if self.robust == if_robust:
            self.wrong += [f"{what} example {at}" for at in torch.nonzero(said).flatten().tolist()]


def _query(x: Tensor, label: int, classes: int, ball: eb.Ball) -> str:
    """Return the query whether a class other than the label has the largest logit."""
    lines = [f"(declare-const X_{i} Real)" for i in range(x.numel())]
    lines += [f"(declare-const Y_{j} Real)" for j in range(classes)]
    for i, value in enumerate(x.flatten().double().tolist()):
        low, high = max(0.0, value - float(ball.radius)), min(1.0, value + float(ball.radius))
        lines.append(f"(assert (and (>= X_{i} {low:.12f}) (<= X_{i} {high:.12f})))")
    others = " ".join(f"(and (>= Y_{j} Y_{label}))" for j in range(classes) if j != label)
    return "\n".join([*lines, f"(assert (or {others}))"])


def _known(part: str, name: str, seed: int, options: argparse.Namespace) -> Judge:
    """Return a network of either side with its examples."""
    if part == "robust":
        one = robust_networks.robust(name, options.each, seed)
        return Judge(module=one.network, x=one.x, y=one.y, ball=one.ball, robust=True)
    one = planted_networks.planted(name, options.each, options.epochs, seed)
    return Judge(module=one.network, x=one.x, y=one.y, ball=one.ball, robust=False)


def _examined(part: str, name: str, seed: int, options: argparse.Namespace) -> dict[str, object]:
    begun = time.process_time()
    judge = _known(part, name, seed, options)
    made = time.process_time() - begun
    if len(judge.x):
        judge.examine(options.out)
    return {
        "part": part,
        "network": name,
        "seed": seed,
        "examples": len(judge.x),
        "counts": dict(judge.counts),
        "wrong": judge.wrong,
        "seconds": round(time.process_time() - begun, 1),
        "seconds of making": round(made, 1),
    }


def _printed(done: list[dict]) -> None:
    for part in ("robust", "planted"):
        own = [one for one in done if one["part"] == part]
        total: Counter[str] = Counter()
        for one in own:
            total.update(one["counts"])
            shown = ", ".join(f"{name} {count}" for name, count in one["counts"].items() if count)
            print(f"{part:8} {one['network']:20} {one['examples']:4} examples: {shown}")
        examples, wrong = sum(one["examples"] for one in own), sum(len(one["wrong"]) for one in own)
        seconds = sum(one["seconds"] for one in own)
        print(f"{part}: {examples} examples of {len(own)} networks, {wrong} wrong, {seconds:.0f} CPU seconds")
        print(", ".join(f"{name} {count}" for name, count in sorted(total.items())), "\n")
        for one in own:
            for said in one["wrong"]:
                print(f"WRONG: {one['network']}, seed {one['seed']}: {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["robust", "planted"])
    parser.add_argument("--each", type=int, default=12, help="examples per network")
    parser.add_argument("--epochs", type=int, default=3000, help="of the training of a planted network")
    parser.add_argument("--seeds", type=int, default=7, help="networks of each kind")
    parser.add_argument("--out", type=Path, default=Path("runs/judges"))
    options = parser.parse_args()
    single_threaded()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "judges.jsonl"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    known = {(one["part"], one["network"], one["seed"]) for one in done}
    for seed in range(options.seeds):
        for part, networks in (("robust", robust_networks.NETWORKS), ("planted", planted_networks.NETWORKS)):
            for name in networks:
                if (part, name, seed) in known or options.part not in (None, part):
                    continue
                done.append(_examined(part, name, seed, options))
                with kept.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
    _printed(done)
    sys.exit(any(one["wrong"] for one in done))


if __name__ == "__main__":
    main()
