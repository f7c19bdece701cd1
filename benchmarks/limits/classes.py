"""Ten classes: every image of a data set, l2 radii up to 3, bracketed or exact at each.

    python benchmarks/limits/classes.py idx:FOLDER_OF_MNIST,split=train [--norm l2] [--radii 1.25 ... 3]

Prints the curve, the hardest class pairs, process CPU seconds and peak memory.
"""

import argparse
import resource
import time

import numpy as np

from epsball.data import load
from epsball.limits import optimal_risk
from epsball.progress import listening


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--norm", default="l2")
    parser.add_argument("--radii", nargs="+", default=["1.25", "1.5", "1.75", "2", "2.25", "2.5", "2.75", "3"])
    options = parser.parse_args()
    x, y = load(options.data)[:]
    optimal_risk(x[::100], y[::100], norm=options.norm, radii=options.radii)
    start = time.process_time()

    def show(what: str, done: int, total: int) -> None:
        if what == "radii":
            print(f"  {time.process_time() - start:7.1f} s  {what} {done}/{total}", flush=True)

    with listening(show):
        result = optimal_risk(x, y, norm=options.norm, radii=options.radii)
    spent = time.process_time() - start
    print(result)
    for limit in result.curve:
        interval = limit.risk.interval
        print(
            f"radius {float(limit.radius):g}: [{interval.low:.9f}, {interval.high:.9f}] exact {limit.exact}, "
            f"deterministic up to {limit.deterministic.high:.6f}"
        )
    worst = np.argsort(-np.triu(result.pairs[-1]).ravel())[:5]
    names = [(int(i) // len(result.classes), int(i) % len(result.classes)) for i in worst]
    print(
        "hardest pairs at the last radius:",
        ", ".join(f"{a}-{b} {result.pairs[-1][a, b]:.4f}" for a, b in names),
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{spent:.1f} CPU s, peak memory of the process {memory:.0f} MiB")


if __name__ == "__main__":
    main()
