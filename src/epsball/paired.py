"""Exact paired statistics: two columns of verdicts on the same examples, and two groups of seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool
from scipy.stats import binom

from epsball.checks import check_share
from epsball.errors import InputError
from epsball.statistics import Interval, clopper_pearson

MOST_ASSIGNMENTS = 2_000_000
"""Assignments of runs to two groups that a permutation test goes through."""


@dataclass(frozen=True, kw_only=True)
class Discordance:
    """On how many examples two columns differ, and which way.

    Parameters
    ----------
    only_a, only_b
        Examples that only the first column counts, and only the second.
    total
        Number of examples.

    Examples
    --------
    >>> a, b = np.array([True, True, True, False]), np.array([False, False, False, False])
    >>> found = Discordance.of(a, b)
    >>> found.difference, found.p
    (0.75, 0.25)
    """

    only_a: int
    only_b: int
    total: int

    @classmethod
    def of(cls, a: Bool[np.ndarray, " n"], b: Bool[np.ndarray, " m"]) -> "Discordance":
        """Return the discordance of two columns about the same examples, in the same order.

        Raises
        ------
        InputError
            If they differ in length or are empty.
        """
        if len(a) != len(b) or not len(a):
            raise InputError(f"the columns have {len(a)} and {len(b)} entries; give two of one length, at least 1.")
        return cls(only_a=int((a & ~b).sum()), only_b=int((b & ~a).sum()), total=len(a))

    @property
    def difference(self) -> float:
        """The share of the first column minus that of the second."""
        return (self.only_a - self.only_b) / self.total

    @property
    def p(self) -> float:
        """The p-value of McNemar's exact test, two-sided, that an example is as likely to differ either way.

        Given b + c discordant examples, b is binomial of share 1/2: p = min(1, 2 P(X <= min(b, c))).

        References
        ----------
        McNemar, Psychometrika 12 (1947), in its exact form.
        """
        b, c = self.only_a, self.only_b
        return min(1.0, 2.0 * float(binom.cdf(min(b, c), b + c, 0.5)))

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return an interval of the difference for the source of the examples, of at least this coverage.

        The shares of both kinds of discordant examples get Clopper-Pearson intervals with half of the error each
        (Bonferroni); their differences are the interval's ends.
        """
        check_share("confidence", confidence)
        each = (1.0 + confidence) / 2.0
        a, b = (clopper_pearson(count, self.total, each) for count in (self.only_a, self.only_b))
        return Interval(a.low - b.high, a.high - b.low)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in their order: each at most alpha with family-wise error alpha.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    Examples
    --------
    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = least
    return adjusted


def permutation_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the exact p-value that mean(a) exceeds mean(b) by chance, over all assignments to the two groups.

    One-sided: the share of the assignments of all values to groups of these sizes whose first sum is at least that of
    `a`. Lowering values of `a` or raising values of `b` never lowers it: with lower ends for `a` and upper ends for `b`
    it is conservative.

    Raises
    ------
    InputError
        If a group is empty, or the assignments are too many to go through.

    References
    ----------
    Fisher, "The Design of Experiments" (1935), section 21.

    Examples
    --------
    >>> permutation_p([0.5, 0.6, 0.7, 0.8], [0.1, 0.2, 0.3, 0.4])  # 1 of 70
    0.014285714285714285
    """
    if not len(a) or not len(b):
        raise InputError(f"the groups have {len(a)} and {len(b)} values; each needs at least one.")
    assignments = comb(len(a) + len(b), len(a))
    if assignments > MOST_ASSIGNMENTS:
        raise InputError(
            f"{len(a)} and {len(b)} values have {assignments} assignments, more than the {MOST_ASSIGNMENTS} that are "
            "gone through; give fewer seeds."
        )
    values = np.array([*a, *b], dtype=np.float64)
    chosen = np.array(list(combinations(range(len(values)), len(a))))
    sums = values[chosen].sum(axis=1)
    # Sums of the same values in another order differ by roundings; those count as equal.
    slack = 8.0 * np.finfo(np.float64).eps * float(np.abs(values).sum())
    return float((sums >= values[: len(a)].sum() - slack).mean())
