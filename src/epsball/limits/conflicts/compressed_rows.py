"""Compiled work on compressed rows: merging tiles, both directions of an edge, flags and counts."""

import numpy as np

from epsball.limits.compiled import compiled
from epsball.limits.conflicts.scans import NEAR


@compiled()
def merge_tiles(ends, columns, levels, out_columns, out_levels):
    """Merge tiles that hold the same rows into whole rows, each ordered by level.

    Parameters
    ----------
    ends
        (tiles, rows): end of each row within its tile; the tiles lie one behind the other.
    columns, levels
        The edges tile by tile.
    out_columns, out_levels
        The same edges row by row.
    """
    tiles, rows = ends.shape
    base = np.zeros(tiles, np.int64)
    for t in range(1, tiles):
        base[t] = base[t - 1] + ends[t - 1, rows - 1]
    cursor = base.copy()
    row_ends = np.empty(rows, np.int64)
    position = 0
    for u in range(rows):
        left = 0
        for t in range(tiles):
            left += base[t] + ends[t, u] - cursor[t]
        while left > 0:
            lowest = NEAR
            for t in range(tiles):
                if cursor[t] < base[t] + ends[t, u]:
                    lowest = min(lowest, levels[cursor[t]] & (NEAR - 1))
            for t in range(tiles):
                while cursor[t] < base[t] + ends[t, u] and levels[cursor[t]] & (NEAR - 1) == lowest:
                    out_columns[position] = columns[cursor[t]]
                    out_levels[position] = levels[cursor[t]]
                    cursor[t] += 1
                    position += 1
                    left -= 1
        row_ends[u] = position
    return row_ends


@compiled()
def both_ways(start, neighbour, by_level):
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


@compiled()
def take_flags(level):
    """Return the positions of levels flagged `NEAR`, and clear their flags in place."""
    count = 0
    for e in range(level.shape[0]):
        count += level[e] >= NEAR
    flagged = np.empty(count, np.int64)
    count = 0
    for e in range(level.shape[0]):
        if level[e] >= NEAR:
            flagged[count] = e
            count += 1
            level[e] &= NEAR - 1
    return flagged


@compiled()
def level_counts(level, k):
    """Return how many edges have each of the levels 0..k-1."""
    counts = np.zeros(k, np.int64)
    for e in range(level.shape[0]):
        counts[level[e]] += 1
    return counts
