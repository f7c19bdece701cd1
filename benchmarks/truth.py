"""Random small networks whose exact minima are known: whether anything claimed of them is false.

    python benchmarks/truth.py [--networks 300] [--out runs/truth.jsonl]

Each network (dense, convolutional or residual; linf and l1 balls, with and without a box) is enumerated cell by cell in
rational numbers, and every registered method under both claims, `complete` run to a gap of 1e-7, `milp`, the linear
program where no neuron is free, and every part of every tree are held against the minima (`tests/certificates/truth.py`
says how near each has to come). A line per network is appended; a run that is started again goes on where it stopped.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from harness import single_threaded

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from certificates.truth import check


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/truth.jsonl"))
    options = parser.parse_args()
    single_threaded()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    known = {one["network"]: one for one in map(json.loads, _lines(options.out))}
    for seed in range(options.networks):
        if seed not in known:
            known[seed] = _checked(seed)
            with options.out.open("a") as file:
                file.write(json.dumps(known[seed]) + "\n")
    total: Counter[str] = Counter()
    for seed in range(options.networks):
        total.update({name: value for name, value in known[seed].items() if name not in ("network", "false")})
    wrong = [one for one in known.values() if "false" in one]
    for name, value in total.items():
        print(f"{name:8} {value:.6g}")
    print(f"{options.networks} networks, {len(wrong)} with a false claim")
    for one in wrong:
        print(one["network"], one["false"])
    sys.exit(bool(wrong))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _checked(seed: int) -> dict[str, object]:
    """Return what was compared, or what is false."""
    begun = time.process_time()
    try:
        found: dict[str, object] = {**check(seed)}
    except AssertionError as error:
        found = {"false": str(error)}
    return {"network": seed, **found, "seconds": round(time.process_time() - begun, 3)}


if __name__ == "__main__":
    main()
