"""What every registered attack leaves standing and every bound proves on the same networks: for docs/choose.md.

    python benchmarks/choosing.py runs/chapter {attacks|certificates} [--examples 100]

`runs/chapter` is the folder of a small run of the chapter, whose networks of the digits are used: trained by PGD in
linf and in l2, by interval bounds, and the standard one behind a rounding of its input, through which no gradient
passes. Everything runs with its default options; an attack is ended after `PASSES` passes per example. What was
measured on the same day is not measured again. Writes `docs/evidence/attack-yields.json` or
`docs/evidence/certificate-yields.json`.
"""

import argparse
import json
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from epsball import attacks
from epsball.attacks import ATTACKS, attack
from epsball.certificates import METHODS, certify
from epsball.chapter.items.masking.circumvention import Rounded
from epsball.chapter.laboratory import Laboratory
from epsball.classifier import Classifier
from epsball.errors import EpsballError
from epsball.files import write_json
from epsball.method_versions import method_version
from epsball.statistics import clopper_pearson
from harness import single_threaded

EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence"
PASSES = 20_000
LINF, L2, ROUNDED = "trained by PGD in linf", "trained by PGD in l2", "standard, its input rounded to 16 levels"
INTERVALS = "trained by interval bounds"

Value = dict[str, Any]


def main() -> None:
    """Measure one table and write it."""
    arguments = argparse.ArgumentParser(description="What attacks leave and bounds prove")
    arguments.add_argument("run", type=Path)
    arguments.add_argument("table", choices=("attacks", "certificates"))
    arguments.add_argument("--examples", type=int, default=100)
    arguments.add_argument("--without", nargs="*", default=[], help="methods that take too long here")
    options = arguments.parse_args()
    single_threaded()
    laboratory, path = (
        Laboratory(size="fast", out=options.run),
        EVIDENCE / f"{options.table.removesuffix('s')}-yields.json",
    )
    names, measured = {
        "attacks": ([*ATTACKS, "collision", "transfer"], of_attacks),
        "certificates": (["auto", *METHODS], of_certificates),
    }[options.table]
    document: dict[str, Any] = {
        "about": f"Registered {options.table} with their default options on networks of the digits",
        "command": f"python benchmarks/choosing.py runs/chapter {options.table} --examples {options.examples}",
        "machine": "two CPU cores (AMD EPYC), shared with other work; one thread",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "methods": {name: method_version(name) for name in names},
        "values": {},
    }
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    values = kept["values"] if all(kept.get(key) == document[key] for key in ("command", "date", "methods")) else {}
    asked = [name for name in names if name not in options.without]
    for found in measured(laboratory, options.examples, asked, set(values)):
        values |= {key: {**value, "methods": by_its_method(key)} for key, value in found.items()}
        write_json(path, {**document, "values": values})


def by_its_method(key: str) -> dict[str, int]:
    """Return the method of a value NAME.NETWORK with its version: a change of one leaves the numbers of others."""
    name = key.split(".")[0]
    return {name: method_version(name)}


def of_attacks(
    laboratory: Laboratory, count: int, names: Sequence[str], known: Container[str]
) -> Iterator[dict[str, Value]]:
    """Yield accuracy under each attack, and passes per example, on each network whose ball it is defined for."""
    examples = laboratory.examples("digits", first=count)
    standard = laboratory.network("standard")
    networks = {
        "linf": (LINF, laboratory.network("pgd-5"), laboratory.ball("linf")),
        "l2": (L2, laboratory.network("pgd-l2"), laboratory.ball("l2")),
        "rounded": (ROUNDED, Classifier(Rounded(standard.network)), laboratory.ball("linf")),
    }
    asked: dict[str, attacks.Attack] = {
        "collision": attacks.Collision(pool=laboratory.examples("digits", "train")),
        "transfer": attacks.Transfer(surrogate=standard),
    }
    for name in names:
        for key, (words, network, ball) in networks.items():
            method = asked.get(name, name)
            if f"{name}.{key}" in known or (name in ATTACKS and ball.norm not in ATTACKS[name].norms):
                continue
            try:
                found = attack(network, *examples, ball, method=method, budget=PASSES)
            except EpsballError as error:
                print(f"{name} {key}: {type(error).__name__}", flush=True)
                continue
            stands, spent = int((~found.broken).sum()), sum(found.ledger.passes) / count
            print(name, key, stands, round(spent), flush=True)
            yield {
                f"{name}.{key}": share(stands, count, f"stand under {name} at {ball}, network {words}"),
                f"{name}.{key}.passes": {
                    "value": round(spent),
                    "what": f"passes of {name} per example there",
                    "n": count,
                },
            }


def of_certificates(
    laboratory: Laboratory, count: int, names: Sequence[str], known: Container[str]
) -> Iterator[dict[str, Value]]:
    """Yield what each bound certifies at the linf ball, and CPU seconds per example."""
    examples, ball = laboratory.examples("digits", first=count), laboratory.ball("linf")
    networks = {"ibp": (INTERVALS, laboratory.network("ibp")), "pgd": (LINF, laboratory.network("pgd-5"))}
    for name in names:
        for key, (words, network) in networks.items():
            if f"{name}.{key}" in known:
                continue
            begun = time.process_time()
            try:
                certified = int(certify(network, *examples, ball, method=name).certified.sum())
            except EpsballError as error:
                print(f"{name} {key}: {type(error).__name__}: {error}", flush=True)
                continue
            spent = (time.process_time() - begun) / count
            print(name, key, certified, f"{spent:.3g}", flush=True)
            seconds = {"value": float(f"{spent:.2g}"), "what": f"CPU seconds of {name} per example there", "n": count}
            yield {
                f"{name}.{key}": share(certified, count, f"certified by {name} at {ball}, network {words}"),
                f"{name}.{key}.seconds": {**seconds, "unit": "CPU-s"},
            }


def share(count: int, total: int, what: str) -> Value:
    """Return a share as evidence."""
    interval = clopper_pearson(count, total)
    ends = [round(interval.low, 4), round(interval.high, 4)]
    return {"value": round(count / total, 4), "what": what, "unit": "share", "n": total, "interval": ends}


if __name__ == "__main__":
    main()
