"""The half-integral part: the examples that pairs leave at q = 1/2, and the conflicts among them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from epsball.compiled import compiled
from epsball.limits.conflicts.graph import Conflicts


@dataclass(frozen=True, kw_only=True)
class HalfIntegral:
    """The examples that pairs leave at q = 1/2, and the conflicts among them (rows ascend by neighbour).

    Parameters
    ----------
    members
        Sorted positions.
    start, neighbour
        Compressed rows, each edge in its lower row, numbered within the part.
    labels
        Class of each member.
    """

    members: np.ndarray
    start: np.ndarray
    neighbour: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.members)

    @property
    def rows(self) -> np.ndarray:
        """Lower end of each edge."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.start))


def half_integral(graph: Conflicts, level: int, rest: Bool[np.ndarray, " n"], labels: np.ndarray) -> HalfIntegral:
    """Return the examples in `rest`, those that pairs leave at q = 1/2, and their conflicts at a level."""
    members = np.flatnonzero(rest)
    number = np.full(len(rest), -1)
    number[members] = np.arange(len(members))
    edges = graph.edges(level)
    u, v = number[graph.rows_of(edges)], number[graph.neighbour[edges]]
    inside = (u >= 0) & (v >= 0)
    u, v = u[inside], v[inside]
    order = np.lexsort((v, u))
    start = np.searchsorted(u[order], np.arange(len(members) + 1))
    return HalfIntegral(members=members, start=start, neighbour=v[order].astype(np.int32), labels=labels[members])


def independent_set(part: HalfIntegral, weights: Float64[np.ndarray, " c"]) -> Bool[np.ndarray, " c"]:
    """Return a heavy set of members of which no two conflict: what a deterministic classifier keeps.

    The heaviest is hard to find. Members are taken by rising degree per weight: once from all classes,
    and once for each class with that class first (no two of a class conflict).
    """
    degree = np.diff(part.start) + np.bincount(part.neighbour, minlength=len(part))
    order = np.argsort(degree / np.maximum(weights, 1.0), kind="stable")
    both = np.concatenate([part.rows, part.neighbour]), np.concatenate([part.neighbour, part.rows])
    by_row = np.argsort(both[0], kind="stable")
    start, neighbour = np.searchsorted(both[0][by_row], np.arange(len(part) + 1)), both[1][by_row]
    orders = [order] + [order[np.argsort(part.labels[order] != c, kind="stable")] for c in np.unique(part.labels)]
    return max((_greedy(o, start, neighbour) for o in orders), key=lambda kept: weights[kept].sum())


@compiled()
def _greedy(order, start, neighbour):
    """Return which nodes are kept: each in turn, unless a neighbour is kept already."""
    kept, blocked = np.zeros(order.shape[0], np.bool_), np.zeros(order.shape[0], np.bool_)
    for u in order:
        if not blocked[u]:
            kept[u] = True
            for e in range(start[u], start[u + 1]):
                blocked[neighbour[e]] = True
    return kept
