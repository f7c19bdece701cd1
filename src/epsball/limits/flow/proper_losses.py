"""Least cross-entropy and Brier score of two classes, from one partition by minimum cuts.

A soft classifier guarantees example i the probability q_i of its label on all of N(x_i); examples
in conflict have q_u + q_v <= 1. For every proper loss the best q is the same: blocks of examples
with masses a (class 0) and b (class 1) in which q is a / (a + b) and b / (a + b). A block is tight
if its classes can be coupled along conflicts in proportion to a : b; else its minimum cut splits it.

References
----------
Bhagoji, Cullina, Sehwag and Mittal, "Lower bounds on cross-entropy loss in the presence of
test-time adversaries", ICML 2021. Huber and Strassen, "Minimax tests and the Neyman-Pearson lemma
for capacities", Annals of Statistics 1 (1973).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from epsball.limits.flow.augmenting_paths import prefixes
from epsball.limits.flow.bipartite import Bipartite
from epsball.limits.flow.flow import Flow

_FINEST = 2**30


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The optimal guarantees of two classes, and the pair of distributions that forces them.

    Parameters
    ----------
    left, right
        Guaranteed probability q of the true label, for each example of class 0 and of class 1.
    moves
        (t, 2) positions u, v (class 0, class 1): both send mass to a point of both balls.
    moved
        (t, 2) the mass that u and v send there, in units of the capacities. At that point the
        posterior is the block's, so no classifier gains; mass not listed stays where it is.
    """

    left: Float64[np.ndarray, " n0"]
    right: Float64[np.ndarray, " n1"]
    moves: Int64[np.ndarray, "t 2"]
    moved: Float64[np.ndarray, "t 2"]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A subgraph: positions of its nodes and its edges between them."""

    left: np.ndarray
    right: np.ndarray
    start: np.ndarray
    neighbour: np.ndarray


def partition(graph: Bipartite, level: int, left: np.ndarray, right: np.ndarray) -> Partition:
    """Return the optimal guarantees at a level for integer masses of the nodes."""
    q_left, q_right = np.ones(len(left)), np.ones(len(right))
    moves, moved = [np.empty((0, 2), dtype=np.int64)], [np.empty((0, 2))]
    waiting = [_conflicting(graph, level)]
    while waiting:
        part = waiting.pop()
        a, b = int(left[part.left].sum()), int(right[part.right].sum())
        if a == 0 or b == 0:
            continue
        flow = _proportional_flow(part, left, right, a, b)
        if flow.value < a * b:
            waiting += _split(part, flow)
            continue
        q_left[part.left], q_right[part.right] = a / (a + b), b / (a + b)
        pairs = flow.coupling()
        moves.append(np.stack([part.left[pairs.left], part.right[pairs.right]], axis=1))
        moved.append(np.stack([pairs.amount / b, pairs.amount / a], axis=1))
    return Partition(left=q_left, right=q_right, moves=np.concatenate(moves), moved=np.concatenate(moved))


def coarse(capacity: np.ndarray, total: int) -> tuple[np.ndarray, int]:
    """Return capacities small enough for products of two to fit 62 bits, rounded down.

    Less mass is less loss, so bounds computed with them remain lower bounds.
    """
    if total <= _FINEST:
        return capacity, total
    return np.array([int(c) * _FINEST // total for c in capacity], dtype=np.int64), _FINEST


def cross_entropy(q: np.ndarray, mass: np.ndarray, total: int) -> float:
    """Return sum_i w_i (-ln q_i), in nats, w = mass / total."""
    return math.fsum(-mass * np.log(q)) / total


def brier(q: np.ndarray, mass: np.ndarray, total: int) -> float:
    """Return sum_i w_i (1 - q_i)^2, the Brier score of the probability of class 1."""
    return math.fsum(mass * (1.0 - q) ** 2) / total


def _conflicting(graph: Bipartite, level: int) -> _Part:
    """Return the nodes in conflict at a level and their edges; all others have q = 1."""
    stop = prefixes(graph.start, graph.sort_key, level)
    wanted = np.zeros(len(graph.neighbour) + 1, dtype=np.int64)
    np.add.at(wanted, graph.start[:-1], 1)
    np.add.at(wanted, stop, -1)
    edges = np.flatnonzero(np.cumsum(wanted[:-1]) * (graph.level <= level))
    rows = np.searchsorted(graph.start, edges, side="right") - 1
    everyone = np.arange(len(stop)), np.arange(graph.right)
    return _part(*everyone, rows, graph.neighbour[edges] - graph.offset, np.unique(rows), None)


def _part(
    left: np.ndarray,
    right: np.ndarray,
    rows: np.ndarray,
    ends: np.ndarray,
    kept: np.ndarray,
    kept_right: np.ndarray | None,
) -> _Part:
    """Return the part induced by `kept` rows and `kept_right` (default: those they meet)."""
    kept_right = np.unique(ends) if kept_right is None else kept_right
    new_row, new_end = np.full(len(left), -1), np.full(len(right), -1)
    new_row[kept], new_end[kept_right] = np.arange(len(kept)), np.arange(len(kept_right))
    inside = (new_row[rows] >= 0) & (new_end[ends] >= 0)
    start = np.searchsorted(new_row[rows[inside]], np.arange(len(kept) + 1))
    return _Part(
        left=left[kept],
        right=right[kept_right],
        start=start,
        neighbour=new_end[ends[inside]].astype(np.int32),
    )


def _proportional_flow(part: _Part, left: np.ndarray, right: np.ndarray, a: int, b: int) -> Flow:
    """Return the maximum flow with capacities b w_u and a w_v, which sum to a b on either side."""
    level = np.zeros(len(part.neighbour), dtype=np.uint16)
    graph = Bipartite(
        start=part.start, neighbour=part.neighbour, level=level, sort_key=level, offset=0, right=len(part.right)
    )
    flow = Flow(graph, left[part.left] * b, right[part.right] * a)
    flow.raise_to(0)
    return flow


def _split(part: _Part, flow: Flow) -> list[_Part]:
    """Return the two sides of the minimum cut: what excess reaches, and the rest."""
    reached, reached_right = flow.reached()
    rows = np.repeat(np.arange(len(part.left)), np.diff(part.start))
    return [
        _part(part.left, part.right, rows, part.neighbour, np.flatnonzero(side), np.flatnonzero(side_right))
        for side, side_right in ((reached, reached_right), (~reached, ~reached_right))
    ]
