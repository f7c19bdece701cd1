"""The gate's test: how often it errs at the boundary, and how many examples it takes against a test of fixed size.

python benchmarks/gate.py [--runs 300] [--boundary 1000]
"""

import argparse

import numpy as np
from scipy.stats import binomtest, hypergeom

from epsball.auditing.gating.drawing import LOOK
from epsball.sequential import CountTest

ERROR = 0.05


def looks(total: int) -> np.ndarray:
    """Return the numbers of examples at which the gate looks."""
    return np.unique(np.append(np.arange(LOOK, total, LOOK), total))


def boundaries(test: CountTest, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least count that passes and the most that fails at each look: answers are monotone in the count."""
    passing, failing = [], []
    for n in at.tolist():
        low, high = 0, n + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if test.answer(middle, n) == "at least" else (middle + 1, high)
        passing.append(low)
        low, high = -1, n
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if test.answer(middle, n) == "below" else (low, middle - 1)
        failing.append(low)
    return np.array(passing), np.array(failing)


def fixed_size(total: int, threshold: int, truth: int) -> int:
    """Return the least number of examples of a test with `ERROR` on both sides between threshold - 1 and the truth."""
    for n in range(1, total + 1):
        least = hypergeom.isf(ERROR, total, threshold - 1, n) + 1
        if hypergeom.sf(least - 1, total, truth, n) >= 1 - ERROR:
            return n
    return total


def simulated(
    total: int, count: int, at: np.ndarray, edges: tuple[np.ndarray, np.ndarray], runs: int, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of examples and whether it passed, per run, with `count` examples that have the property."""
    drawn, passed = [], []
    has = np.arange(total) < count
    for _ in range(runs):
        counted = draws.permutation(has).cumsum()[at - 1]
        first = int(((counted >= edges[0]) | (counted <= edges[1])).argmax())
        drawn.append(at[first])
        passed.append(counted[first] >= edges[0][first])
    return np.array(drawn), np.array(passed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--boundary", type=int, default=1000)
    given = parser.parse_args()
    draws = np.random.default_rng(0)
    print("| examples | threshold | wrong at k - 1 | wrong at k | fixed size | 5 points off | 10 points off |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for total in (360, 1000, 10_000):
        for share in (0.5, 0.9, 0.99):
            threshold = int(np.ceil(share * total))
            at, test = looks(total), CountTest(total=total, threshold=threshold)
            edges = boundaries(test, at)
            wrong = []
            for count, right in ((threshold - 1, False), (threshold, True)):
                _, passed = simulated(total, count, at, edges, given.boundary, draws)
                errors = int((passed != right).sum())
                rejected = binomtest(errors, given.boundary, ERROR, alternative="greater").pvalue < 1e-3
                wrong.append(f"{errors / given.boundary:.3f}{' (rejected)' if rejected else ''}")
            medians, fixed = [], fixed_size(total, threshold, min(total, threshold - 1 + round(0.05 * total)))
            for points in (0.05, 0.1):
                truth = threshold - 1 + round(points * total)
                if truth > total:
                    medians.append("-")
                    continue
                drawn, _ = simulated(total, truth, at, edges, given.runs, draws)
                medians.append(f"{np.median(drawn) / fixed:.2f}")
            print(f"| {total:,} | {share} | {' | '.join(wrong)} | {fixed} | {' | '.join(medians)} |", flush=True)


if __name__ == "__main__":
    main()
