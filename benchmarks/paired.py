"""Coverage of the interval of a difference of two networks on the same examples: ``python benchmarks/paired.py``.

Of N examples the first network alone is right on a share p, the second alone on a share q. Per grid point 10,000 data
sets are drawn; the interval must hold p - q in 95% of them. Printed: the share that it does, and the p-value of the
exact one-sided binomial test that coverage is at least 95%; below 1e-3 it is rejected.
"""

import argparse

import numpy as np
from scipy.stats import binom

from epsball.paired import Discordance

SHARES = (
    (0.0, 0.0),
    (1.0, 0.0),
    (0.0, 1.0),
    (0.01, 0.0),
    (0.01, 0.01),
    (0.05, 0.02),
    (0.2, 0.2),
    (0.5, 0.5),
    (0.9, 0.1),
)
TOTALS = (10, 50, 360, 1000)


def coverage(p: float, q: float, total: int, runs: int, draws: np.random.Generator) -> float:
    """Return the share of data sets whose interval holds p - q."""
    counts = draws.multinomial(total, [p, q, max(0.0, 1 - p - q)], size=runs)
    pairs, times = np.unique(counts[:, :2], axis=0, return_counts=True)
    held = 0
    for (a, b), count in zip(pairs.tolist(), times.tolist(), strict=True):
        interval = Discordance(only_a=a, only_b=b, total=total).interval()
        # The ends are exact up to the rounding of the beta distribution's inverse.
        held += count if interval.low - 1e-12 <= p - q <= interval.high + 1e-12 else 0
    return held / runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    runs = parser.parse_args().runs
    draws = np.random.default_rng(0)
    print("| only A | only B | examples | covered | p-value |\n| ---: | ---: | ---: | ---: | ---: |")
    for p, q in SHARES:
        for total in TOTALS:
            share = coverage(p, q, total, runs, draws)
            rejected = binom.cdf(round(share * runs), runs, 0.95)
            print(f"| {p:g} | {q:g} | {total:,} | {share:.4f} | {rejected:.2g} |")


if __name__ == "__main__":
    main()
