"""The search for violated hyperedges among examples, and for a ceiling over those that it did not see."""

from fractions import Fraction
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from epsball.ball import NormName
from epsball.limits.conflicts.sample import Sample
from epsball.limits.conflicts.scans import squared_distances
from epsball.limits.hyperedges.cliques import ALWAYS, L1, L2, Cliques, disjoint, separate
from epsball.limits.hyperedges.half_integral import HalfIntegral
from epsball.limits.hyperedges.joint_intersection import decide, surely_share_float

TOLERANCE = 4e-8
PROVED = 1.0 + 2.0 * TOLERANCE
_RULES = {"linf": ALWAYS, "l2": L2, "l1": L1}
_BLOCK = 256
_DECISION = 50_000
_ALLOWANCE, _LONGER = 256, 8


class SeparationOracle:
    """A search with a budget that all its calls share.

    Parameters
    ----------
    data, norm, radius
        The sample and its balls.
    part
        Where to search.
    sets
        Number of sets to look at; a set decided in fractions or by a linear program counts as 50,000.
    """

    def __init__(self, data: Sample, norm: NormName, radius: Fraction, part: HalfIntegral, sets: int) -> None:
        self.part, self.radius, self.left = part, radius, sets
        self._allowance = _ALLOWANCE
        self._data = data
        self._norm: NormName = norm
        key = np.zeros(len(part.neighbour))
        if norm == "l2" and len(part.neighbour):
            key = squared_distances(data.rows(part.members), part.rows, part.neighbour)
        self._cliques = Cliques(
            start=part.start,
            neighbour=part.neighbour,
            key=key,
            labels=part.labels,
            rule=_RULES[norm],
            square=float((radius * (data.scale or 1)) ** 2),
            slack=0.0 if data.scale else (data.dimension + 4) * 2.0**-52,
        )
        self._decided: dict[tuple[int, ...], bool | None] = {}

    def disjoint(self) -> list[np.ndarray]:
        """Return disjoint hyperedges of two members and more."""
        bounds = np.searchsorted(self.part.labels, np.arange(len(self._data.classes) + 1))
        return [row[row >= 0] for row in disjoint(self._cliques, bounds) if row[1] >= 0]

    def violated(self, q: Float64[np.ndarray, " c"]) -> tuple[list[np.ndarray], float]:
        """Return hyperedges (numbered within the part) whose q sum to more than 1 + TOLERANCE, and a ceiling.

        No hyperedge has a larger sum than the ceiling; at most PROVED, it proves that none is violated.
        A short search comes first; longer ones only where it found nothing and left sets out.
        """
        while True:
            hyperedges, ceiling, complete = self._sweep(q, min(self.left, self._allowance * len(self.part)))
            if hyperedges or ceiling <= PROVED or complete or self.left <= 0:
                return hyperedges, ceiling
            self._allowance *= _LONGER

    def _sweep(self, q: Float64[np.ndarray, " c"], budget: int) -> tuple[list[np.ndarray], float, bool]:
        """Return what `violated` does, from one look at every root, and whether the budget sufficed."""
        n, classes = len(self.part), len(self._data.classes)
        found, undecided = np.empty((_BLOCK, classes), np.int32), np.empty(_BLOCK, np.bool_)
        hyperedges, ceiling, left, complete = [], 1.0, budget, True
        for first in range(0, n, _BLOCK):
            last = min(n, first + _BLOCK)
            share = left * (last - first) // (n - first)
            number, seen, highest, done = separate(
                self._cliques, classes, q, TOLERANCE, (first, last), share, found, undecided
            )
            left -= seen
            ceiling, complete = max(ceiling, highest), complete and done
            for row, doubt in zip(found[:number], undecided[:number], strict=True):
                members = row[row >= 0]
                hyperedges += self._proved(members, q) if doubt else [members]
        self.left -= max(1, budget - left)
        return hyperedges, ceiling, complete

    def surely_share_float(self, members: np.ndarray) -> bool:
        """Return whether the stored balls surely share a float; in linf they do where pairs do."""
        if self._norm == "linf" or len(members) == 2:
            return True
        return surely_share_float(self._data, self._norm, self.radius, self.part.members[members])

    def _proved(self, members: np.ndarray, q: Float64[np.ndarray, " c"]) -> list[np.ndarray]:
        """Return an undecided set if its balls do meet; else its violated triples that do."""
        if self._decide(members):
            return [members]
        triples = (np.array(triple) for triple in combinations(members, 3))
        return [t for t in triples if q[t].sum() > 1.0 + TOLERANCE and self._decide(t)]

    def _decide(self, members: np.ndarray) -> bool | None:
        """Return whether the balls meet, or None where that stays open or the budget is spent."""
        key = tuple(members.tolist())
        if key not in self._decided:
            if self.left < _DECISION:
                return None
            self.left -= _DECISION
            self._decided[key] = decide(self._data, self._norm, self.radius, self.part.members[members])
        return self._decided[key]
