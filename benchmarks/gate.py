"""The gate's test: how often it errs at the boundary, and how many examples it takes against a test of fixed size.

python benchmarks/gate.py [--runs 1000] [--boundary 10000]
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
    total: int,
    counts: tuple[int, int],
    at: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
    runs: int,
    draws: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of examples and the answer (1 passed, -1 failed, 0 cannot be told) per run.

    Parameters
    ----------
    total, counts
        Examples, of which so many are certified and right, and so many right and not broken: the first among these.
    at, edges
        The looks, and what passes and fails at each.
    """
    left = np.tile([counts[0], counts[1] - counts[0], total - counts[1]], (runs, 1))
    seen, going = np.zeros((runs, 3), dtype=np.int64), np.arange(runs)
    drawn, answer = np.full(runs, total), np.zeros(runs, dtype=np.int64)
    before = 0
    for n, passing, failing in zip(at.tolist(), *edges, strict=True):
        certified = draws.hypergeometric(left[going, 0], left[going, 1] + left[going, 2], n - before)
        open_ = draws.hypergeometric(left[going, 1], left[going, 2], n - before - certified)
        new = np.stack([certified, open_, n - before - certified - open_], axis=1)
        left[going] -= new
        seen[going] += new
        passed, failed = seen[going, 0] >= passing, seen[going, 0] + seen[going, 1] <= failing
        drawn[going[passed | failed]] = n
        answer[going[passed]], answer[going[failed]] = 1, -1
        going, before = going[~(passed | failed)], n
        if not len(going):
            break
    return drawn, answer


def wrongly(
    total: int,
    threshold: int,
    undecided: int,
    at: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
    runs: int,
    draws: np.random.Generator,
) -> list[str]:
    """Return the shares of runs that pass one below the threshold, and that fail at it.

    Of the examples `undecided` are neither certified nor broken: a gate may not pass where certified ones are one too
    few, whatever the others are, nor fail where those that are not broken are just enough.
    """
    found = []
    for counts, error in (
        ((threshold - 1, min(total, threshold - 1 + undecided)), 1),
        ((max(0, threshold - undecided), threshold), -1),
    ):
        _, answer = simulated(total, counts, at, edges, runs, draws)
        errors = int((answer == error).sum())
        rejected = binomtest(errors, runs, ERROR, alternative="greater").pvalue < 1e-3
        found.append(f"{errors / runs:.4f}{' (rejected)' if rejected else ''}")
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="per median")
    parser.add_argument("--boundary", type=int, default=10_000, help="per share of wrong answers")
    given = parser.parse_args()
    draws = np.random.default_rng(0)
    sizes = [
        "| examples | threshold | fixed size | 5 points off | 10 points off |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    print("| examples | threshold | undecided | passes at k - 1 | fails at k |\n| ---: | ---: | ---: | ---: | ---: |")
    for total in (360, 1000, 10_000):
        for share in (0.5, 0.9, 0.99):
            threshold = int(np.ceil(share * total))
            at = looks(total)
            edges = boundaries(CountTest(total=total, threshold=threshold), at)
            for undecided in (0.0, 0.1, 0.4):
                wrong = wrongly(total, threshold, round(undecided * total), at, edges, given.boundary, draws)
                print(f"| {total:,} | {share} | {undecided:.0%} | {' | '.join(wrong)} |", flush=True)
            medians, fixed = [], fixed_size(total, threshold, min(total, threshold - 1 + round(0.05 * total)))
            for points in (0.05, 0.1):
                truth = threshold - 1 + round(points * total)
                if truth > total:
                    medians.append("-")
                    continue
                drawn, _ = simulated(total, (truth, truth), at, edges, given.runs, draws)
                medians.append(f"{np.median(drawn) / fixed:.2f}")
            sizes.append(f"| {total:,} | {share} | {fixed} | {' | '.join(medians)} |")
    print("\n" + "\n".join(sizes))


if __name__ == "__main__":
    main()
