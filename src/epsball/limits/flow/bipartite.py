"""From conflicts to flow problems: two classes directly, more by the bipartite double cover."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from epsball.compiled import compiled
from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Bipartite:
    """A bipartite graph whose edges appear with the levels.

    Parameters
    ----------
    start, neighbour, level, sort_key
        Compressed rows of the left nodes, as in `Conflicts`.
    offset
        `neighbour` minus `offset` is the right node.
    right
        Number of right nodes.
    """

    start: np.ndarray
    neighbour: np.ndarray
    level: np.ndarray
    sort_key: np.ndarray
    offset: int
    right: int


def bipartite(data: Sample, readings: Sequence[Conflicts]) -> list[Bipartite]:
    """Return one flow problem per reading of the conflicts; all arrays but the levels are shared.

    Two classes: class 0 on the left and class 1 on the right. More: the bipartite double cover, two
    copies of every example and each edge u v as u v' and v u'; half its maximum flow is the
    fractional optimum over pairs.
    """
    graph = readings[0]
    if len(data.classes) == 2:
        offset = int(data.bounds[1])
        right = len(data) - offset
        start, neighbour, sort_key = graph.start[: offset + 1], graph.neighbour, graph.sort_key
        levels = [reading.level for reading in readings]
    else:
        offset, right = 0, len(data)
        start, edges, neighbour = _both_ways(graph.start, graph.neighbour, np.argsort(graph.sort_key, kind="stable"))
        sort_key = graph.sort_key[edges]
        levels = [sort_key if reading.level is reading.sort_key else reading.level[edges] for reading in readings]
    return [
        Bipartite(start=start, neighbour=neighbour, level=level, sort_key=sort_key, offset=offset, right=right)
        for level in levels
    ]


def sides(data: Sample, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a column over the sorted sample for the left and for the right nodes of its flow problem."""
    if len(data.classes) > 2:
        return column, column
    return column[: data.bounds[1]], column[data.bounds[1] :]


def pair_of_classes(graph: Conflicts, data: Sample, a: int, b: int) -> Bipartite:
    """Return the conflicts between the classes a < b alone."""
    bounds = data.bounds
    rows = slice(int(graph.start[bounds[a]]), int(graph.start[bounds[a + 1]]))
    neighbour = graph.neighbour[rows]
    kept = np.flatnonzero((neighbour >= bounds[b]) & (neighbour < bounds[b + 1]))
    start = np.searchsorted(kept, graph.start[bounds[a] : bounds[a + 1] + 1] - rows.start)
    sort_key = graph.sort_key[rows][kept]
    return Bipartite(
        start=start,
        neighbour=neighbour[kept],
        level=sort_key if graph.level is graph.sort_key else graph.level[rows][kept],
        sort_key=sort_key,
        offset=int(bounds[b]),
        right=int(bounds[b + 1] - bounds[b]),
    )


@compiled()
def _both_ways(start, neighbour, by_level):
    """Return compressed rows in which each edge stands at both ends: starts, edge positions, neighbours.

    Edges enter in the order `by_level`, so that each row ascends by level.
    """
    n = start.shape[0] - 1
    lower = np.empty(neighbour.shape[0], np.int32)
    both = np.zeros(n + 1, np.int64)
    for u in range(n):
        both[u + 1] += start[u + 1] - start[u]
        for e in range(start[u], start[u + 1]):
            lower[e] = u
            both[neighbour[e] + 1] += 1
    for u in range(n):
        both[u + 1] += both[u]
    fill = both.copy()
    edges, ends = np.empty(both[n], np.int64), np.empty(both[n], np.int32)
    for e in by_level:
        u, v = lower[e], neighbour[e]
        edges[fill[u]], ends[fill[u]] = e, v
        fill[u] += 1
        edges[fill[v]], ends[fill[v]] = e, u
        fill[v] += 1
    return both, edges, ends
