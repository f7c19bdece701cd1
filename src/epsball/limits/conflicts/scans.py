"""Compiled scans: which pairs of a tile lie within the largest threshold, and at which level.

A *key* is a distance (linf, l1) or squared distance (l2) in the units of the data: an exact
integer for 8-bit data, and for floats an upper bound of the exact value. A pair's *level* is the
number of the smallest radius whose threshold T_j reaches its key; `NEAR` is added to the levels
of pairs so close to their threshold that rounding the centres to floats matters.
"""

from typing import NamedTuple

import numpy as np

from epsball.compiled import compiled

NEAR = 1 << 15
_CHUNK = 64
_CHUNK_L1 = 256


class Block(NamedTuple):
    """Consecutive points of a sample, for the scan in l2: as they are, in float32, and their squared norms."""

    points: np.ndarray
    singles: np.ndarray
    norms: np.ndarray


class Found(NamedTuple):
    """Where a scan writes: the columns and levels of its edges, and undecided pairs of floats per radius."""

    columns: np.ndarray
    levels: np.ndarray
    undecided: np.ndarray


@compiled(fastmath={"reassoc"}, inline="always")
def squared_distance(a, b):
    """Return sum (a - b)^2 in float64: exact for uint8, else within gamma_{d+2} in any order."""
    total = 0.0
    for p in range(a.shape[0]):
        gap = np.float64(a[p]) - np.float64(b[p])
        total += gap * gap
    return total


@compiled(fastmath={"reassoc"})
def squared_norms(points):
    """Return sum x^2 of each row, in float64."""
    norms = np.zeros(points.shape[0])
    for i in range(points.shape[0]):
        for p in range(points.shape[1]):
            norms[i] += np.float64(points[i, p]) * np.float64(points[i, p])
    return norms


@compiled(inline="always")
def _largest_gap_uint8(a, b, stop):
    """Return max |a - b|, or any value above `stop` once it is exceeded.

    Everything stays uint8, so that one vector instruction handles 32 or 64 pixels.
    """
    largest = np.uint8(0)
    for start in range(0, a.shape[0], _CHUNK):
        u, v = a[start : start + _CHUNK], b[start : start + _CHUNK]
        for p in range(u.shape[0]):
            largest = max(largest, np.uint8(max(u[p], v[p]) - min(u[p], v[p])))
        if largest > stop:
            break
    return np.float64(largest)


@compiled(inline="always")
def _total_gap_uint8(a, b, stop):
    """Return sum |a - b|, or any value above `stop` once it is exceeded."""
    total = 0
    for start in range(0, a.shape[0], _CHUNK_L1):
        u, v = a[start : start + _CHUNK_L1], b[start : start + _CHUNK_L1]
        part = np.uint16(0)  # 256 gaps of at most 255 fit 16 bits
        for p in range(u.shape[0]):
            part = np.uint16(part + np.uint16(np.uint8(max(u[p], v[p]) - min(u[p], v[p]))))
        total += np.int64(part)
        if total > stop:
            break
    return np.float64(total)


@compiled(inline="always")
def _largest_gap_float(a, b, stop):
    """Return max |a - b| in float64, or any value above `stop` once it is exceeded."""
    largest = 0.0
    for p in range(a.shape[0]):
        largest = max(largest, abs(np.float64(a[p]) - np.float64(b[p])))
        if largest > stop:
            break
    return largest


@compiled(fastmath={"reassoc"}, inline="always")
def _total_gap_float(a, b, stop):
    """Return sum |a - b| in float64; summing on costs less than looking at `stop`."""
    total = 0.0
    for p in range(a.shape[0]):
        total += abs(np.float64(a[p]) - np.float64(b[p]))
    return total


@compiled(inline="always")
def _first_level(key, grid):
    """Return the first j with key <= grid.cut[j]; `guide` holds the answer at each cell's low end."""
    j = grid.guide[max(0, min(grid.guide.shape[0] - 1, int(key * grid.cell)))]
    while j < grid.cut.shape[0] and key > grid.cut[j]:
        j += 1
    return j


@compiled(inline="always")
def _judge(key, grid, undecided):
    """Return the level of an exact key, flagged `NEAR` where it lies above the level's safe threshold.

    For floats the key is raised to an upper bound; levels that only the lower bound reaches are
    counted as undecided and are not conflicts.
    """
    high = key * (1.0 + grid.slack)
    j = _first_level(high, grid)
    if grid.slack > 0.0:
        for i in range(_first_level(key * (1.0 - grid.slack), grid), j):
            undecided[i] += 1
    if j < grid.cut.shape[0] and high > grid.safe[j]:
        return j | NEAR
    return j


@compiled(inline="always")
def _append(row, levels, count, tally, found, position):
    """Append a row's pairs to `found`, ordered by level; return the new end."""
    tally[:] = 0
    for i in range(count):
        tally[(levels[i] & (NEAR - 1)) + 1] += 1
    for j in range(1, tally.shape[0]):
        tally[j] += tally[j - 1]
    for i in range(count):
        j = levels[i] & (NEAR - 1)
        found.columns[position + tally[j]] = row[i]
        found.levels[position + tally[j]] = levels[i]
        tally[j] += 1
    return position + count


@compiled()
def scan_l2(products, rows, panel, error, grid, offset, found):
    """Scan a tile whose inner products are known in float32, and return the end of each row of edges.

    |x|^2 + |y|^2 - 2 x.y is known within E = 2 gamma (|x|^2 + max |y|^2) + underflow; only pairs
    within E of a threshold are computed again, in float64.

    Parameters
    ----------
    products
        (rows, columns) float32 inner products; overwritten.
    rows, panel
        The `Block`s of the tile.
    error
        gamma and underflow.
    grid
        The `Thresholds`.
    offset
        Position of the panel's first point.
    found
        The `Found` that is written, row by row and each row by level.
    """
    gamma, underflow = error
    k = grid.cut.shape[0]
    count_rows, count_columns = products.shape
    widest = panel.norms.max()
    ends = np.empty(count_rows, np.int64)
    row = np.empty(count_columns, np.int32)
    levels = np.empty(count_columns, np.uint16)
    halves = (0.5 * panel.norms).astype(np.float32)
    tally = np.empty(k + 1, np.int64)
    position = 0
    for u in range(count_rows):
        norm = rows.norms[u]
        bound = 2.0 * gamma * (norm + widest) + underflow
        cut64 = 0.5 * (norm - grid.cut[k - 1] - bound)
        cut = np.float32(cut64 - 2.0**-22 * abs(cut64))  # rounded down
        line = products[u]
        candidates = 0
        for v in range(count_columns):
            line[v] -= halves[v]
        for v in range(count_columns):
            row[candidates] = v
            candidates += line[v] >= cut
        count = 0
        for i in range(candidates):
            v = row[i]
            key = norm - 2.0 * np.float64(line[v])
            j = _first_level(key, grid)
            level = j
            below = j > 0 and key - bound <= grid.cut[j - 1]
            if below or j == k or key + bound > grid.safe[j]:
                key = squared_distance(rows.points[u], panel.points[v])
                level = _judge(key, grid, found.undecided)
            if level < k or level >= NEAR:
                row[count] = v + offset
                levels[count] = level
                count += 1
        position = _append(row, levels, count, tally, found, position)
        ends[u] = position
    return ends


@compiled(inline="always")
def _scan(distance, rows, panel, grid, offset, found):
    """Scan a tile by the distances of its pairs; arguments and result are those of `scan_l2`."""
    k = grid.cut.shape[0]
    ends = np.empty(rows.shape[0], np.int64)
    row = np.empty(panel.shape[0], np.int32)
    levels = np.empty(panel.shape[0], np.uint16)
    tally = np.empty(k + 1, np.int64)
    stop = grid.cut[k - 1] * (1.0 + 4.0 * grid.slack)
    position = 0
    for u in range(rows.shape[0]):
        count = 0
        for v in range(panel.shape[0]):
            key = distance(rows[u], panel[v], stop)
            if key * (1.0 - grid.slack) <= grid.cut[k - 1]:
                level = _judge(key, grid, found.undecided)
                if level < k or level >= NEAR:
                    row[count] = v + offset
                    levels[count] = level
                    count += 1
        position = _append(row, levels, count, tally, found, position)
        ends[u] = position
    return ends


# One function per norm and type: numba cannot store what closes over a compiled function on disk.
@compiled()
def _scan_linf_uint8(rows, panel, grid, offset, found):
    return _scan(_largest_gap_uint8, rows, panel, grid, offset, found)


@compiled()
def _scan_linf_float(rows, panel, grid, offset, found):
    return _scan(_largest_gap_float, rows, panel, grid, offset, found)


@compiled()
def _scan_l1_uint8(rows, panel, grid, offset, found):
    return _scan(_total_gap_uint8, rows, panel, grid, offset, found)


@compiled()
def _scan_l1_float(rows, panel, grid, offset, found):
    return _scan(_total_gap_float, rows, panel, grid, offset, found)


scan_gaps = {
    ("linf", True): _scan_linf_uint8,
    ("linf", False): _scan_linf_float,
    ("l1", True): _scan_l1_uint8,
    ("l1", False): _scan_l1_float,
}


@compiled()
def squared_distances(points, u, v):
    """Return the squared distance of each pair u[e], v[e] of rows, in float64."""
    out = np.empty(u.shape[0])
    for e in range(u.shape[0]):
        out[e] = squared_distance(points[u[e]], points[v[e]])
    return out


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
def level_counts(level, k):
    """Return how many edges have each of the levels 0..k-1."""
    counts = np.zeros(k, np.int64)
    for e in range(level.shape[0]):
        counts[level[e]] += 1
    return counts
