"""The core: the examples that pairs leave at q = 1/2, and the conflicts among them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from epsball.limits.compiled import compiled
from epsball.limits.conflicts.graph import Conflicts


@dataclass(frozen=True, kw_only=True)
class Core:
    """Some examples and the conflicts among them (rows ascend by neighbour).

    Parameters
    ----------
    members
        Sorted positions.
    start, neighbour
        Compressed rows, each edge in its lower row, numbered within the core.
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


def core_of(graph: Conflicts, level: int, rest: Bool[np.ndarray, " n"], labels: np.ndarray) -> Core:
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
    return Core(members=members, start=start, neighbour=v[order].astype(np.int32), labels=labels[members])


def independent_set(core: Core, weights: Float64[np.ndarray, " c"]) -> Bool[np.ndarray, " c"]:
    """Return a heavy set of members of which no two conflict: what a deterministic classifier keeps.

    The heaviest is hard to find. Members are taken by rising degree per weight, once as they are and
    once for each class with that class first (a class has no conflicts within).
    """
    degree = np.diff(core.start) + np.bincount(core.neighbour, minlength=len(core))
    order = np.argsort(degree / np.maximum(weights, 1.0), kind="stable")
    both = np.concatenate([core.rows, core.neighbour]), np.concatenate([core.neighbour, core.rows])
    by_row = np.argsort(both[0], kind="stable")
    start, neighbour = np.searchsorted(both[0][by_row], np.arange(len(core) + 1)), both[1][by_row]
    orders = [order] + [order[np.argsort(core.labels[order] != c, kind="stable")] for c in np.unique(core.labels)]
    return max((_greedy(o, start, neighbour) for o in orders), key=lambda kept: weights[kept].sum())


@compiled()
def _greedy(order, start, neighbour):
    """Return a mask of the nodes kept: each in turn, unless a neighbour is kept already."""
    kept, blocked = np.zeros(order.shape[0], np.bool_), np.zeros(order.shape[0], np.bool_)
    for u in order:
        if not blocked[u]:
            kept[u] = True
            for e in range(start[u], start[u + 1]):
                blocked[neighbour[e]] = True
    return kept
