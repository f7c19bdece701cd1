"""`epsball diagnose` against networks whose masking is known: confusion tables, power, and cost.

    python -m epsball zoo train --out ZOO --mnist DIR --cifar10 DIR
    python benchmarks/diagnosis.py ZOO [--half 1] [--only NAME ..] [--part truth] [--runs FOLDER]
    python benchmarks/diagnosis.py --print [--runs FOLDER]

The truth about a network is fixed on the first 200 test images: it is masked where PGD on the cross-entropy, 100 steps
from 5 starts, stands at least .10 above the best of all attacks known here (PGD itself, what the diagnosis tries, the
ensemble at greater length and, behind a defence, the attack that was written against it); it is honest where that is at
most .02; between the two it is reported and not judged. Truth and diagnosis of each network are a file each, so that a
run goes on where it stopped, and the truth outlasts a change of the diagnosis. A diagnosis of fewer images (`--count`)
is held against the truth on the same ones.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import epsball as eb
from diagnosed_networks import COUNT, NETWORKS, Network
from epsball.attacks.registry import resolve
from epsball.files import write_json
from epsball.generator_state import preserved
from epsball.masking.checks.race.evaluation import MOST as ABOVE
from epsball.masking.diagnose import diagnosis_of, trial_of
from epsball.masking.measurements.plain import PlainPGD, plain_race
from epsball.masking.planted import LEAST_SHARE, power
from epsball.masking.trial import Trial
from epsball.masking.zoo import DEFENCES
from epsball.statistics import clopper_pearson
from harness import single_threaded

MASKED, HONEST = 0.10, 0.02
"""The truth, by the gap between plain PGD and the best attack."""

WEAK = ("pgd,steps=7", "pgd,steps=40")
"""Weak evaluations, whose power is measured where the network is masked."""


def main() -> None:
    """Measure what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path, nargs="?")
    parser.add_argument("--half", type=int, choices=(1, 2, 3))
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/diagnosis"))
    parser.add_argument("--part", choices=tuple(PARTS), nargs="*", default=list(PARTS))
    parser.add_argument("--count", type=int, default=COUNT, help="images of a diagnosis")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    single_threaded()
    chosen = [NETWORKS[name] for name in options.only if options.half in (None, NETWORKS[name].half)]
    for part in () if options.print else options.part:
        for network in chosen:
            place = place_of(options.runs, part, network)
            if not place.exists():
                began = time.process_time()
                try:
                    measured = PARTS[part](network, options.zoo, options.count)
                except eb.errors.InputError as error:  # data or weights that are not here
                    print(f"{network.name} is left out: {error}", flush=True)
                    continue
                write_json(place, {**measured, "seconds": time.process_time() - began})
                print(part, network.name, flush=True)
    print(report([row for network in chosen if (row := read(options.runs, network)) is not None]))


def place_of(runs: Path, part: str, network: Network) -> Path:
    """Return the file of a part of a network's measurements."""
    return runs / part / f"{network.name.replace('/', '_').replace(' ', '__')}.json"


def truth(network: Network, zoo: Path, count: int) -> dict[str, Any]:
    """Return which images plain PGD breaks, and which fall to it or to the strongest attack known for the network."""
    classifier, x, y = network.load(zoo)
    ball = eb.Ball.parse(network.ball)
    plain = broken_by(classifier, x, y, ball, PlainPGD())
    best, left = plain.clone(), torch.nonzero(~plain)[:, 0]
    longer = eb.attacks.Ensemble(patience=10.0, most=140)
    strongest = longer if network.defence is None else DEFENCES[network.defence].adaptive(classifier)
    best[left] |= broken_by(classifier, x[left], y[left], ball, strongest)
    return {"plain": plain.int().tolist(), "best": best.int().tolist()}


def diagnosis(network: Network, zoo: Path, count: int) -> dict[str, Any]:
    """Return a network's diagnosis and, where PGD's number is far above the reported, the power of weak evaluations."""
    classifier, x, y = network.load(zoo)
    trial = trial_of(classifier, x[:count], y[:count], eb.Ball.parse(network.ball))
    found = diagnosis_of(trial)
    return {**found.to_json(), "weak": {} if found.random else weak_powers(trial)}


PARTS = {"truth": truth, "diagnosis": diagnosis}
"""What is measured of each network; a file each."""


def read(runs: Path, network: Network) -> dict[str, Any] | None:
    """Return what is known of a network, the truth from both parts; None while one is missing."""
    places = [place_of(runs, part, network) for part in PARTS]
    if not all(place.exists() for place in places):
        return None
    known, found = (json.loads(place.read_text()) for place in places)
    plain, best, diagnosed = (torch.tensor(broken) for broken in (known["plain"], known["best"], found["broken"]))
    plain, best = plain[: len(diagnosed)], best[: len(diagnosed)].bool() | diagnosed.bool()
    gap = float((best.double() - plain.double()).mean())
    return {
        "name": network.name,
        "half": network.half,
        "truth": {"plain": accuracy(plain), "best": accuracy(best), "gap": gap},
        "diagnosis": found,
        "weak": found["weak"],
    }


def broken_by(classifier: eb.Classifier, x: Tensor, y: Tensor, ball: eb.Ball, method: eb.attacks.Attack) -> Tensor:
    """Return which examples an attack breaks; none but the misclassified where the model passes no gradient."""
    if len(x) == 0:
        return torch.zeros(0, dtype=torch.bool)
    try:
        return eb.attack(classifier, x, y, ball, method=method).broken
    except eb.errors.NoGradientError:
        return classifier(x).argmax(1) != y


def accuracy(broken: Tensor) -> float:
    """Return the share that stands."""
    return 1.0 - float(broken.double().mean())


def weak_powers(trial: Trial) -> dict[str, Any]:
    """Return the accuracies under weak evaluations, and how many planted witnesses they find; none of a sound model."""
    if float(trial.measured(plain_race).gap) < MASKED / 2:
        return {}
    out = {}
    for text in WEAK:
        weak = replace(trial, examined=resolve(text), suspicious=True)
        with preserved(), weak.classifier.in_use():
            weak.run_examined()
            found = weak.measured(power)
        counts = {} if found is None else {"planted": found.planted, "found": found.found}
        out[text] = {"accuracy": weak.accuracy.get(weak.examined_as), **counts}
    return out


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Return a line per network, then both halves' tables."""
    lines = [
        "| network | half | plain PGD | best | gap | truth | verdict | reasons | reported | power | passes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: (row["half"], -row["truth"]["gap"])):
        found, truth = row["diagnosis"], row["truth"]
        power = found["power"]
        lines.append(
            f"| {row['name']} | {row['half']} | {truth['plain']:.3f} | {truth['best']:.3f} | {truth['gap']:.3f} | "
            f"{truth_of(row)} | {found['verdict']} | {', '.join(found['reasons'])} | "
            f"{found['accuracy']['reported']:.3f} | "
            f"{'' if power is None else '{found} of {planted}'.format(**power)} | {cost(row):.2f} |"
        )
    for half in sorted({row["half"] for row in rows}):
        lines += ["", f"## Half {half}", "", *confusion([row for row in rows if row["half"] == half])]
    return "\n".join([*lines, "", *further(rows)])


def flagged_by_power(found: dict[str, Any]) -> bool:
    """Return whether an evaluation finds too few planted witnesses."""
    return bool(found.get("planted")) and found["found"] / found["planted"] < LEAST_SHARE


def above_best(found: dict[str, Any], row: dict[str, Any]) -> bool:
    """Return whether an evaluation's number is not the lowest that the diagnosis found."""
    accuracy = found["accuracy"]
    return accuracy is None or accuracy - row["diagnosis"]["accuracy"]["reported"] >= ABOVE


def truth_of(row: dict[str, Any]) -> str:
    """Return masked, honest or between."""
    gap = row["truth"]["gap"]
    return "masked" if gap >= MASKED - 1e-9 else "honest" if gap <= HONEST + 1e-9 else "between"


def cost(row: dict[str, Any]) -> float:
    """Return all passes over the evaluation's."""
    passes = row["diagnosis"]["passes"]
    return passes["all"] / passes["evaluation"]


def confusion(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return truth against verdict, with exact intervals of the shares."""
    lines = ["| truth | sound | suspect | masked |", "| --- | --- | --- | --- |"]
    for truth in ("honest", "between", "masked"):
        verdicts = [row["diagnosis"]["verdict"] for row in rows if truth_of(row) == truth]
        cells = []
        for verdict in ("sound", "suspect", "masked"):
            count = verdicts.count(verdict)
            cells.append(f"{count} {clopper_pearson(count, len(verdicts))}" if verdicts else "0")
        lines.append(f"| {truth} ({len(verdicts)}) | {' | '.join(cells)} |")
    return lines


def further(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what else is promised: reported accuracy of the masked, power, and cost."""
    masked = [row for row in rows if truth_of(row) == "masked"]
    honest = [row for row in rows if truth_of(row) == "honest"]
    over = [(row["diagnosis"]["accuracy"]["reported"] - row["truth"]["best"], row["name"]) for row in masked]
    powers = [row["diagnosis"]["power"] for row in honest if row["diagnosis"]["power"]]
    found, planted = (sum(power[name] for power in powers) for name in ("found", "planted"))
    lines = []
    if over:
        lines.append(f"reported accuracy of masked networks above the best known: at most {max(over)}")
    if planted:
        interval = clopper_pearson(found, planted)
        low = min(power["interval"]["low"] for power in powers)
        lines.append(
            f"power on {len(powers)} honest networks: {found} of {planted} {interval}; least lower end {low:.3f}"
        )
    for text in WEAK:
        weak = [(row["weak"][text], row) for row in masked if row["weak"]]
        by_power = sum(flagged_by_power(found) for found, _ in weak)
        either = [flagged_by_power(found) or above_best(found, row) for found, row in weak]
        missed = [row["name"] for (_, row), flagged in zip(weak, either, strict=True) if not flagged]
        lines.append(
            f"{text} on {len(weak)} masked networks: flagged by its power on {by_power}, by power or a number "
            f"{ABOVE} above the best on {sum(either)}; not flagged: {missed}"
        )
    if honest:
        lines.append(f"passes on honest networks: at most {max((cost(row), row['name']) for row in honest)}")
    lines.append(f"passes on all: at most {max(((cost(row), row['name']) for row in rows), default=None)}")
    return lines


if __name__ == "__main__":
    main()
