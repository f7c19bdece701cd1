"""The search for violated hyperedges in a core, and for a ceiling over those that it did not see."""

from fractions import Fraction
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from epsball.limits.conflicts.sample import Sample
from epsball.limits.conflicts.scans import squared_distances
from epsball.limits.hyperedges.cliques import ALWAYS, L1, L2, disjoint, separate
from epsball.limits.hyperedges.half_integral import Core
from epsball.limits.hyperedges.joint_intersection import decide, surely_meets

TOLERANCE = 4e-8
PROVED = 1.0 + 2.0 * TOLERANCE
_BLOCK = 256
_DECISION = 50_000
_ALLOWANCE, _LONGER = 256, 8


class Search:
    """A search with a budget that all its calls share.

    Parameters
    ----------
    data, norm, radius
        The sample and its balls.
    core
        Where to search.
    sets
        Number of sets to look at; a set decided in fractions or by a linear program counts as 50,000.
    """

    def __init__(self, data: Sample, norm: str, radius: Fraction, core: Core, sets: int) -> None:
        self.core, self.radius, self.left = core, radius, sets
        self._allowance = _ALLOWANCE
        self._data, self._norm = data, norm
        self._rule = {"linf": ALWAYS, "l2": L2, "l1": L1}[norm]
        self._square = float((radius * (data.scale or 1)) ** 2)
        self._slack = 0.0 if data.scale else (data.dimension + 4) * 2.0**-52
        self._key = np.zeros(len(core.neighbour))
        if norm == "l2" and len(core.neighbour):
            self._key = squared_distances(data.rows(core.members), core.rows, core.neighbour)
        self._decided: dict[tuple[int, ...], bool | None] = {}

    def disjoint(self) -> list[np.ndarray]:
        """Return disjoint hyperedges of two members and more."""
        core = self.core
        bounds = np.searchsorted(core.labels, np.arange(len(self._data.classes) + 1))
        sets = disjoint(
            core.start, core.neighbour, self._key, core.labels, bounds, self._rule, self._square, self._slack
        )
        return [row[row >= 0] for row in sets if row[1] >= 0]

    def violated(self, q: Float64[np.ndarray, " c"]) -> tuple[list[np.ndarray], float]:
        """Return hyperedges (core numbering) whose q sum to more than 1 + TOLERANCE, and a ceiling.

        No hyperedge has a larger sum than the ceiling; at most PROVED, it proves that none is violated.
        A short search comes first; longer ones only where it found nothing and left sets out.
        """
        while True:
            hyperedges, ceiling, whole = self._sweep(q, min(self.left, self._allowance * len(self.core)))
            if hyperedges or ceiling <= PROVED or whole or self.left <= 0:
                return hyperedges, ceiling
            self._allowance *= _LONGER

    def _sweep(self, q: Float64[np.ndarray, " c"], budget: int) -> tuple[list[np.ndarray], float, bool]:
        """Return what `violated` does, from one look at every root, and whether the budget sufficed."""
        core, count = self.core, len(self._data.classes)
        found, doubtful = np.empty((_BLOCK, count), np.int32), np.empty(_BLOCK, np.bool_)
        hyperedges, ceiling, left, whole = [], 1.0, budget, True
        for first in range(0, len(core), _BLOCK):
            last = min(len(core), first + _BLOCK)
            number, seen, highest, done = separate(
                core.start, core.neighbour, self._key, core.labels, count, q, self._rule, self._square,
                self._slack, TOLERANCE, (first, last), left * (last - first) // (len(core) - first), found, doubtful,
            )  # fmt: skip
            left -= seen
            ceiling, whole = max(ceiling, highest), whole and done
            for row, doubt in zip(found[:number], doubtful[:number], strict=True):
                members = row[row >= 0]
                hyperedges += self._proved(members, q) if doubt else [members]
        self.left -= max(1, budget - left)
        return hyperedges, ceiling, whole

    def surely_held(self, members: np.ndarray) -> bool:
        """Return whether stored balls surely share a stored number; in linf they do where pairs do."""
        if self._norm == "linf" or len(members) == 2:
            return True
        return surely_meets(self._data, self._norm, self.radius, self.core.members[members])

    def _proved(self, members: np.ndarray, q: Float64[np.ndarray, " c"]) -> list[np.ndarray]:
        """Return a doubtful set if its balls do meet; else its violated triples that do."""
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
            self._decided[key] = decide(self._data, self._norm, self.radius, self.core.members[members])
        return self._decided[key]
