"""From a conflict graph to flow problems: two classes directly, more by the bipartite double cover."""

import numpy as np

from epsball.limits.conflicts.compressed_rows import both_ways
from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample
from epsball.limits.flow.flow import Bipartite


def two_classes(graph: Conflicts, data: Sample) -> Bipartite:
    """Return the conflicts of two classes with class 0 on the left and class 1 on the right."""
    first = int(data.bounds[1])
    return Bipartite(
        start=graph.start[: first + 1],
        neighbour=graph.neighbour,
        level=graph.level,
        active=graph.active,
        offset=first,
        right=len(data) - first,
    )


def double_cover(graph: Conflicts) -> Bipartite:
    """Return the bipartite double cover: two copies of every example, each edge u v as u v' and v u'.

    Half its maximum flow is the fractional optimum over pairs.
    """
    by_level = np.argsort(graph.level, kind="stable")
    start, edges, neighbour = both_ways(graph.start, graph.neighbour, by_level)
    level = graph.level[edges]
    active = level if graph.active is graph.level else graph.active[edges]
    return Bipartite(start=start, neighbour=neighbour, level=level, active=active, offset=0, right=len(start) - 1)


def pair_of_classes(graph: Conflicts, data: Sample, a: int, b: int) -> Bipartite:
    """Return the conflicts between the classes a < b alone."""
    bounds = data.bounds
    rows = slice(int(graph.start[bounds[a]]), int(graph.start[bounds[a + 1]]))
    neighbour = graph.neighbour[rows]
    kept = np.flatnonzero((neighbour >= bounds[b]) & (neighbour < bounds[b + 1]))
    start = np.searchsorted(kept, graph.start[bounds[a] : bounds[a + 1] + 1] - rows.start)
    return Bipartite(
        start=start,
        neighbour=neighbour[kept],
        level=graph.level[rows][kept],
        active=graph.active[rows][kept],
        offset=int(bounds[b]),
        right=int(bounds[b + 1] - bounds[b]),
    )
