"""More than two classes: the soft optimum as a linear program over hyperedges, found lazily.

maximise sum_i w_i q_i  subject to  sum_{i in e} q_i <= 1 for every hyperedge e,  0 <= q <= 1;
the optimal risk is 1 - that maximum. With pairs alone the double cover solves it: q is 1 on the
`safe`, 0 on the `given up` and 1/2 on the rest. Adding larger hyperedges leaves the first two as
they are (each given-up example is paid for by safe neighbours, as in Nemhauser and Trotter's
theorem for integers), so only the rest enters a linear program, and only where a hyperedge is
violated. Its duals, repaired in float64, bound the risk from below whatever the solver did.

References
----------
Dai, Ding, Bhagoji, Cullina, Zhao, Zheng and Mittal, "Characterizing the optimal 0-1 loss for
multi-class classification with a test-time attacker", NeurIPS 2023. Nemhauser and Trotter,
"Vertex packings: structural properties and algorithms", Mathematical Programming 8 (1975).
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float64

from epsball.limits.cliques import ALWAYS, L1, L2, separate
from epsball.limits.conflicts import Conflicts
from epsball.limits.joint import decide, surely_meets
from epsball.limits.kernels import squared_distances
from epsball.limits.program import Packing
from epsball.limits.sample import Sample
from epsball.progress import report

TOLERANCE = 1e-7
_ROOM = 20_000


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long hyperedges are searched before a gap is stated instead.

    Parameters
    ----------
    rounds
        Linear programs solved per radius.
    sets
        Sets of examples looked at in one search.
    """

    rounds: int = 60
    sets: int = 50_000_000


STANDARD = Effort()


@dataclass(frozen=True, kw_only=True)
class Soft:
    """The soft optimum of a sample at one radius, bracketed.

    Parameters
    ----------
    low, high
        Bounds of the optimal risk; equal up to rounding where it is exact.
    q
        (n,) guaranteed probability of the true label; feasible for the hyperedges found.
    stored
        Lower bound from the sets that surely have a common point among the machine's numbers.
    """

    low: float
    high: float
    q: Float64[np.ndarray, " n"]
    stored: float


@dataclass(frozen=True, kw_only=True)
class Core:
    """The examples that pairs leave at q = 1/2, and the conflicts among them (rows ascend by neighbour).

    Parameters
    ----------
    members
        Sorted positions.
    start, neighbour
        Compressed rows, each edge in its lower row, numbered within the core.
    """

    members: np.ndarray
    start: np.ndarray
    neighbour: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Lower end of each edge."""
        return np.repeat(np.arange(len(self.members), dtype=np.int32), np.diff(self.start))


def core_of(graph: Conflicts, level: int, rest: Bool[np.ndarray, " n"]) -> Core:
    """Return the conflicts at a level among the examples in `rest`."""
    members = np.flatnonzero(rest)
    number = np.full(len(rest), -1)
    number[members] = np.arange(len(members))
    edges = graph.edges(level)
    u, v = number[graph.rows_of(edges)], number[graph.neighbour[edges]]
    inside = (u >= 0) & (v >= 0)
    u, v = u[inside], v[inside]
    order = np.lexsort((v, u))
    start = np.searchsorted(u[order], np.arange(len(members) + 1))
    return Core(members=members, start=start, neighbour=v[order].astype(np.int32))


def soft_optimum(
    data: Sample, norm: str, radius: Fraction, core: Core, safe: Bool[np.ndarray, " n"], effort: Effort
) -> Soft:
    """Return the soft optimum over all hyperedges, or a bracket where the effort ran out."""
    q = np.where(safe, 1.0, 0.0)
    q[core.members] = 0.5
    search = Search(data, norm, radius, core, effort)
    found = _cutting_planes(search, data.capacity[core.members].astype(np.float64), effort)
    q[core.members] = found.q
    settled = math.fsum(data.capacity[safe])
    low, stored = (max(0.0, 1.0 - (settled + most) / data.total) for most in (found.most, found.most_stored))
    high = 1.0 - math.fsum(data.capacity * q) / data.total if search.full else 1.0
    return Soft(low=low, high=max(low, high), stored=stored, q=q)


class Search:
    """The search for violated hyperedges in a core.

    Parameters
    ----------
    data, norm, radius
        The sample and its balls.
    core
        Where to search.
    effort
        Its limits.
    """

    def __init__(self, data: Sample, norm: str, radius: Fraction, core: Core, effort: Effort) -> None:
        self.core, self.full, self.radius = core, True, radius
        self._data, self._norm, self._effort = data, norm, effort
        self._rule = {"linf": ALWAYS, "l2": L2, "l1": L1}[norm]
        self._square = float((radius * (data.scale or 1)) ** 2)
        self._key = np.zeros(len(core.neighbour))
        if norm == "l2" and len(core.neighbour):
            self._key = squared_distances(data.rows(core.members), core.rows, core.neighbour)
        self._class = data.labels[core.members]

    def violated(self, q: Float64[np.ndarray, " c"]) -> list[np.ndarray]:
        """Return hyperedges (core numbering) whose q sum to more than 1 + TOLERANCE.

        Where `full` then holds, an empty list proves that there are none.
        """
        core, data = self.core, self._data
        slack = 0.0 if data.scale else (data.dimension + 4) * 2.0**-52
        sets, doubtful, self.full = separate(
            core.start, core.neighbour, self._key, self._class, len(data.classes), q, self._rule,
            self._square, slack, TOLERANCE, self._effort.sets, _ROOM,
        )  # fmt: skip
        hyperedges = []
        for row, doubt in zip(sets, doubtful, strict=True):
            members = row[row >= 0]
            hyperedges += self._proved(members, q) if doubt else [members]
        return hyperedges

    def surely_held(self, members: np.ndarray) -> bool:
        """Return whether stored balls surely share a stored number; in linf they do where pairs do."""
        if self._norm == "linf" or len(members) == 2:
            return True
        return surely_meets(self._data, self._norm, self.radius, self.core.members[members])

    def _proved(self, members: np.ndarray, q: Float64[np.ndarray, " c"]) -> list[np.ndarray]:
        """Return a doubtful set if its balls do meet; else its violated triples that do.

        A set that does not meet may have hidden others from the search, which is then not full.
        """
        if self._decide(members):
            return [members]
        self.full = False
        triples = (np.array(triple) for triple in combinations(members, 3))
        return [t for t in triples if q[t].sum() > 1.0 + TOLERANCE and self._decide(t)]

    def _decide(self, members: np.ndarray) -> bool | None:
        return decide(self._data, self._norm, self.radius, self.core.members[members])


@dataclass(frozen=True, kw_only=True)
class _Packed:
    """Upper bounds of sum_i w_i q_i over the core, with all sets and with those surely held by a machine."""

    most: float
    most_stored: float
    q: Float64[np.ndarray, " c"]


def _cutting_planes(search: "Search", weights: Float64[np.ndarray, " c"], effort: Effort) -> _Packed:
    """Add violated pairs and hyperedges until none is left, those that a machine surely holds first."""
    u, v = search.core.rows, search.core.neighbour
    q = np.full(len(weights), 0.5)
    most = most_stored = 0.5 * math.fsum(weights)
    cuts = search.violated(q)
    program = Packing(weights)
    pairs, sure = _spanning(u, v, len(weights)) if cuts else [], True
    for turn in range(effort.rounds):
        held = [members for members in cuts if search.surely_held(members)] if sure else cuts
        if sure and not held and not pairs:
            sure, held, most_stored = False, cuts, most
        if not held and not pairs:
            break
        report(f"hyperedges at radius {float(search.radius):g}", turn, effort.rounds)
        program.add(pairs + held)
        q, bound = program.solve()
        most = min(most, bound)
        violated = np.flatnonzero(q[u] + q[v] > 1.0 + TOLERANCE)
        pairs = list(np.stack([u[violated], v[violated]], axis=1))
        cuts = search.violated(q)
    search.full &= not cuts and not pairs
    # Where the search was full, no set sums to more than 1 + TOLERANCE: scaled, q is feasible.
    scale = 1.0 + TOLERANCE if q.max(initial=0.0) > 0.5 else 1.0
    return _Packed(most=most, most_stored=most if sure else most_stored, q=q / scale)


def _spanning(u: np.ndarray, v: np.ndarray, size: int) -> list[np.ndarray]:
    """Return one edge of each node, the pairs with which the program starts."""
    first = np.full(size, -1)
    first[v] = np.arange(len(v))
    first[u] = np.arange(len(u))
    chosen = np.unique(first[first >= 0])
    return list(np.stack([u[chosen], v[chosen]], axis=1))
