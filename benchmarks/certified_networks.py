"""What a network trained for its certificates has: certified examples, none of them broken, certificates replayed.

    python benchmarks/certified_networks.py CARD DATA BALL --out FOLDER [--attack 1000] [--replay 50] [--cpu-seconds 8]
    python benchmarks/certified_networks.py CARD DATA BALL --out FOLDER --show

Three steps, each kept in FOLDER in parts of 250 examples, so that the same command goes on where it was stopped:

1. Every example is bounded by intervals. What is right and still open is attacked by PGD; what PGD leaves is given to
   the cascade (`auto`), which ends with branch and bound where `--cpu-seconds` limits an example. An example that is
   broken has no certificate, so the count is that of `epsball certify`.
2. The first `--attack` examples are attacked by `ensemble`, whatever their certificates. A certified example that it
   breaks is named, and the exit code is 1.
3. Of the certified examples `--replay` are drawn by the keys of their pixels and labels; their certificates are written
   and replayed by the independent checker.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import epsball as eb
from epsball.classifier import Classifier
from epsball.randomness import Keys
from epsball.statistics import clopper_pearson
from epsball_replay import replay
from harness import single_threaded

EACH = 250
OPEN = "pgd,steps=20"

Rows = list[dict]


def main() -> int:
    """Do what is missing, then show what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card")
    parser.add_argument("data")
    parser.add_argument("ball")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--attack", type=int, default=1000, help="examples that `ensemble` attacks, from the first")
    parser.add_argument("--replay", type=int, default=50, help="certificates that are replayed")
    parser.add_argument("--cpu-seconds", type=float, help="for each example that the cascade is given")
    parser.add_argument("--show", action="store_true", help="only show what was measured")
    options = parser.parse_args()
    single_threaded()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.show:
        measure(options)
    return show(options.out)


def measure(options: argparse.Namespace) -> None:
    """Bound, attack and replay, as far as it was not done before."""
    classifier = eb.models.load(options.card).classifier()
    x, y = eb.data.load(options.data)[:]
    x, ball = eb.data.as_pixels(x), eb.Ball.parse(options.ball)

    def bound(part: slice) -> Rows:
        return bounded(classifier, x[part], y[part], ball, options.cpu_seconds)

    def attack(part: slice) -> Rows:
        found = eb.attack(classifier, x[part], y[part], ball, method="ensemble")
        return [{"broken": broken} for broken in found.broken.tolist()]

    in_parts(options.out / "bounds.jsonl", len(x), bound)
    in_parts(options.out / "ensemble.jsonl", min(options.attack, len(x)), attack)
    certified = [row["index"] for row in rows(options.out / "bounds.jsonl") if row["by"]]
    replayed(classifier, (x, y), ball, drawn(x, y, certified, options.replay), options)


def bounded(classifier: Classifier, x: Tensor, y: Tensor, ball: eb.Ball, limit: float | None) -> Rows:
    """Return for each example whether it is right, and by which method it is certified."""
    by_interval = eb.certify(classifier, x, y, ball, method="interval")
    right = by_interval.predicted == y
    by: list[str | None] = [method if sure else None for method, sure in zip(*_methods(by_interval), strict=True)]
    left = (right & ~by_interval.certified).nonzero()[:, 0]
    if len(left):
        left = left[~eb.attack(classifier, x[left], y[left], ball, method=OPEN).broken]
    if len(left):
        found = eb.certify(classifier, x[left], y[left], ball, cpu_seconds=limit)
        for place, method, sure in zip(left.tolist(), *_methods(found), strict=True):
            by[place] = method if sure else None
    given = set(left.tolist())
    return [
        {"right": bool(flag), "by": method, "withstood": method is not None or place in given}
        for place, (flag, method) in enumerate(zip(right, by, strict=True))
    ]


def _methods(found: "eb.Certificates") -> tuple[tuple[str | None, ...], list[bool]]:
    return found.method, found.certified.tolist()


def in_parts(file: Path, count: int, work: Callable[[slice], Rows]) -> None:
    """Append rows of the examples that a file does not have yet, part by part, with the CPU seconds of each part."""
    for start in range(len(rows(file)), count, EACH):
        part = slice(start, min(start + EACH, count))
        begun = time.process_time()
        found = work(part)
        each = (time.process_time() - begun) / len(found)
        lines = [json.dumps({"index": start + place, **row, "seconds": each}) for place, row in enumerate(found)]
        with file.open("a") as opened:
            opened.write("\n".join(lines) + "\n")
        print(f"{file.name}: {part.stop} of {count}", flush=True)


def rows(file: Path) -> Rows:
    """Return the rows of a file; none where there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def drawn(x: Tensor, y: Tensor, certified: list[int], count: int) -> list[int]:
    """Return the certified examples of the smallest keys."""
    among = torch.tensor(certified, dtype=torch.int64)
    words = Keys.of_examples(x[among], y[among], 0).derive("replay").words
    return sorted(among[words.argsort()[:count]].tolist())


def replayed(
    classifier: Classifier, data: tuple[Tensor, Tensor], ball: eb.Ball, chosen: list[int], options: argparse.Namespace
) -> None:
    """Write and replay the certificates of some examples."""
    file = options.out / "replayed.jsonl"
    done = {row["index"] for row in rows(file)}
    for index in chosen:
        if index in done:
            continue
        one = slice(index, index + 1)
        folder = options.out / f"proof-{index:05}"
        limit = options.cpu_seconds
        found = eb.certify(classifier, data[0][one], data[1][one], ball, cpu_seconds=limit, folder=folder)
        begun = time.process_time()
        accepted = bool(found.files) and all(replay(path).accepted for path in found.files.values())
        row = {"index": index, "accepted": accepted, "seconds": time.process_time() - begun}
        with file.open("a") as opened:
            opened.write(json.dumps(row) + "\n")


def show(folder: Path) -> int:
    """Print the shares, and return 1 where a certified example is broken or a certificate refused."""
    bounds, attacked, checked = (rows(folder / f"{name}.jsonl") for name in ("bounds", "ensemble", "replayed"))
    certified = [row["by"] is not None for row in bounds]
    methods = sorted({row["by"] for row in bounds if row["by"]})
    print("natural  ", _share([row["right"] for row in bounds]))
    print("certified", _share(certified), {name: sum(row["by"] == name for row in bounds) for name in methods})
    print("right, withstood PGD, no certificate:", sum(row["withstood"] and not row["by"] for row in bounds))
    known = list(zip(bounds, attacked, strict=False))
    stands = [bound["right"] and not attack["broken"] for bound, attack in known]
    print("under ensemble", _share(stands), " certified of them", _share(certified[: len(known)]))
    wrong = [bound["index"] for bound, attack in known if bound["by"] and attack["broken"]]
    refused = [row["index"] for row in checked if not row["accepted"]]
    print(f"certified and broken: {wrong or 'none'}; replayed: {len(checked)}, refused: {refused or 'none'}")
    seconds = [sum(row["seconds"] for row in part) for part in (bounds, attacked, checked)]
    print("CPU seconds: bounds {:.0f}, ensemble {:.0f}, replay {:.1f}".format(*seconds))
    return int(bool(wrong or refused))


def _share(flags: list[bool]) -> str:
    if not flags:
        return "-"
    return f"{sum(flags) / len(flags):.4f} {clopper_pearson(sum(flags), len(flags))} ({sum(flags)} of {len(flags)})"


if __name__ == "__main__":
    sys.exit(main())
