"""The conflict graph: pairs of different label whose balls share a point, for a whole grid of radii.

Distances are computed in tiles and thresholded at the largest radius; the matrix never exists.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from epsball.ball import NormName
from epsball.limits.conflicts.bounding_boxes import FEW, Boxes
from epsball.limits.conflicts.sample import ORDER, Sample
from epsball.limits.conflicts.scans import Block, Found, level_counts, merge_tiles, scan_gaps, scan_l2, squared_norms
from epsball.limits.conflicts.thresholds import thresholds
from epsball.progress import report

_TILE_ROWS = 512
_TILE_COLUMNS = 16384
_PANEL_BYTES = 2**25
_BOX_COLUMNS = 1024

Meets = Callable[[np.ndarray, np.ndarray, Fraction], np.ndarray]
"""``meets(a, b, radius)``: boolean (len(a), len(b)), whether the neighbourhoods share a point; monotone in radius."""


@dataclass(frozen=True, kw_only=True)
class Conflicts:
    """A graph over the sorted sample, in compressed rows; each edge stands once, in its lower row.

    Parameters
    ----------
    start
        (n + 1,) int64: the edges of row u are start[u]:start[u + 1].
    neighbour
        (m,) int32: the other end v > u, of a later class.
    level
        (m,) uint16: number of the smallest radius at which the pair conflicts; the number of radii: at none.
    sort_key
        (m,) uint16: ascends in each row, at most `level`: the edges of a level lie in a prefix of the row.
    radii
        The grid of radii.
    undecided_pairs
        (k,) pairs of floats per radius that rounding leaves undecided: not edges, so that the
        optimal risk is bounded from below.
    """

    start: np.ndarray
    neighbour: np.ndarray
    level: np.ndarray
    sort_key: np.ndarray
    radii: tuple[Fraction, ...]
    undecided_pairs: np.ndarray

    def __len__(self) -> int:
        return len(self.neighbour)

    def edges(self, level: int) -> np.ndarray:
        """Return the positions of the edges present at a level."""
        return np.flatnonzero(self.level <= level)

    def counts(self) -> np.ndarray:
        """Return the number of edges present at each level."""
        return level_counts(self.level, len(self.radii)).cumsum()

    def rows_of(self, edges: np.ndarray) -> np.ndarray:
        """Return the lower end u of each edge position."""
        return np.searchsorted(self.start, edges, side="right") - 1


@dataclass(frozen=True, kw_only=True)
class _Tiles:
    """How the rows and columns of a tile are loaded, and how it is scanned.

    ``scan(rows, columns, offset, found)`` writes the edges between the two blocks, row by row and each
    row by level, into `found` (columns as positions in the block plus offset), and returns the end of
    each row.
    """

    rows: Callable[[slice], Any]
    columns: Callable[[slice], Any]
    scan: Callable[[Any, Any, int, Found], np.ndarray]


def conflicts(data: Sample, norm: NormName, radii: tuple[Fraction, ...], meets: Meets | None = None) -> Conflicts:
    """Return the conflict graph; levels carry the flag `scans.NEAR` where rounding may matter.

    Parameters
    ----------
    data
        The sample.
    norm
        linf, l2 or l1.
    radii
        Increasing radii.
    meets
        Another rule of intersection, in place of d(x, x') <= 2 radius.
    """
    if meets is not None:
        tiles = _predicate_tiles(data, radii, meets)
    else:
        tiles = _l2_tiles(data, radii) if norm == "l2" else _gap_tiles(data, norm, radii)
    n = len(data)
    edges = _Edges(n)
    undecided_pairs = np.zeros(len(radii), dtype=np.int64)
    panels = _Panels(data, ORDER[norm], None if meets else radii[-1])
    for low, high in _row_blocks(data.bounds):
        rows = tiles.rows(slice(low, high))
        ends = []
        for first, last in panels.near(slice(low, high)):
            found = Found(*edges.tail((high - low) * (last - first)), undecided_pairs)
            ends.append(tiles.scan(rows, tiles.columns(slice(first, last)), first, found))
            edges.size += int(ends[-1][-1])
        edges.close_rows(ends, high - low)
        report("neighbour graph", high, n)
    start, neighbour, level = edges.finish()
    return Conflicts(
        start=start, neighbour=neighbour, level=level, sort_key=level, radii=radii, undecided_pairs=undecided_pairs
    )


class _Panels:
    """The blocks of columns that a block of rows is compared with: all of later classes, or those near it.

    Parameters
    ----------
    data
        The sample.
    order
        The p of its norm.
    radius
        The largest; None: a caller's rule, to which distance means nothing.
    """

    def __init__(self, data: Sample, order: float, radius: Fraction | None) -> None:
        self._data, self._order = data, order
        few = radius is not None and data.dimension <= FEW
        self._reach = 2 * radius * (data.scale or 1) if radius is not None and few else None
        self._width = (
            min(_TILE_COLUMNS, _BOX_COLUMNS)
            if few
            else min(_TILE_COLUMNS, max(256, _PANEL_BYTES // (4 * data.dimension)))
        )
        self._boxes: dict[int, Boxes] = {}

    def near(self, block: slice) -> list[tuple[int, int]]:
        """Return the first and last column of each panel, for a block of rows of one class."""
        data, n = self._data, len(self._data)
        first = int(data.bounds[data.labels[block.start] + 1])
        panels = [(column, min(n, column + self._width)) for column in range(first, n, self._width)]
        if self._reach is None:
            return panels
        if first not in self._boxes:
            points = [data.rows(slice(*panel)) for panel in panels]
            self._boxes[first] = Boxes(
                np.array([p.min(axis=0) for p in points], dtype=np.float64),
                np.array([p.max(axis=0) for p in points], dtype=np.float64),
            )
        near = self._boxes[first].near(data.rows(block), self._order, self._reach)
        return [panels[i] for i in np.flatnonzero(near)]


def _row_blocks(bounds: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield runs of rows of one class; the last class has no later class to conflict with."""
    for a, b in pairwise(bounds[:-1]):
        for low in range(int(a), int(b), _TILE_ROWS):
            yield low, min(int(b), low + _TILE_ROWS)


def _l2_tiles(data: Sample, radii: tuple[Fraction, ...]) -> _Tiles:
    """Return the tiles of l2: float32 products, and float64 where they cannot decide."""
    grid = thresholds("l2", radii, data)
    # Any order of d products: gamma_d; the rest pays for norms, casts and the difference.
    error = (data.dimension + 8) * 2.0**-24, (data.dimension + 8) * 2.0**-140
    norms = np.concatenate([squared_norms(data.rows(where)) for where in _runs(len(data))])
    # Fresh memory costs a page fault every 4 KiB: the tile's products and its panel are reused.
    room = np.empty(_TILE_ROWS * _TILE_COLUMNS, dtype=np.float32)

    def load(buffer: np.ndarray, where: slice) -> Block:
        points = data.rows(where)
        singles = buffer[: len(points)]
        np.copyto(singles, points, casting="unsafe")
        return Block(points, singles, norms[where])

    def scan(rows: Block, panel: Block, offset: int, found: Found) -> np.ndarray:
        products = room[: len(rows.points) * len(panel.points)].reshape(len(rows.points), len(panel.points))
        np.matmul(rows.singles, panel.singles.T, out=products)
        return scan_l2(products, rows, panel, error, grid, offset, found)

    buffers = (np.empty((size, data.dimension), dtype=np.float32) for size in (_TILE_ROWS, _TILE_COLUMNS))
    load_rows, load_columns = (partial(load, buffer) for buffer in buffers)
    return _Tiles(rows=load_rows, columns=load_columns, scan=scan)


def _runs(n: int) -> Iterator[slice]:
    for low in range(0, n, _TILE_COLUMNS):
        yield slice(low, min(n, low + _TILE_COLUMNS))


def _gap_tiles(data: Sample, norm: NormName, radii: tuple[Fraction, ...]) -> _Tiles:
    """Return the tiles of linf and l1: gaps in pixels, left as soon as they exceed the largest radius."""
    grid = thresholds(norm, radii, data)
    kernel = scan_gaps[norm, data.scale is not None]
    some = data.rows(slice(0, None, max(1, len(data) // 1000)))
    order = np.argsort(-some.astype(np.float64).var(axis=0), kind="stable")  # a large gap shows early

    def load(where: slice) -> np.ndarray:
        return np.ascontiguousarray(data.rows(where)[:, order])

    def scan(rows: np.ndarray, panel: np.ndarray, offset: int, found: Found) -> np.ndarray:
        return kernel(rows, panel, grid, offset, found)

    return _Tiles(rows=load, columns=load, scan=scan)


def _predicate_tiles(data: Sample, radii: tuple[Fraction, ...], meets: Meets) -> _Tiles:
    """Return the tiles of a caller's rule, asked from the largest radius down."""

    def scan(rows: np.ndarray, panel: np.ndarray, offset: int, found: Found) -> np.ndarray:
        level = np.full((len(rows), len(panel)), len(radii), dtype=np.int64)
        for j in range(len(radii) - 1, -1, -1):
            level[np.asarray(meets(rows, panel, radii[j]), dtype=bool)] = j
        u, v = np.nonzero(level < len(radii))
        order = np.lexsort((v, level[u, v], u))
        found.columns[: len(u)] = v[order] + offset
        found.levels[: len(u)] = level[u, v][order]
        return np.searchsorted(u[order], np.arange(len(rows)), side="right")

    return _Tiles(rows=data.centres, columns=data.centres, scan=scan)


class _Edges:
    """Compressed rows that grow tile by tile; growing remaps memory where the system can."""

    def __init__(self, n: int) -> None:
        self.start = np.zeros(n + 1, dtype=np.int64)
        self.neighbour = np.empty(0, dtype=np.int32)
        self.level = np.empty(0, dtype=np.uint16)
        self.rows = 0
        self.size = 0
        self._columns, self._levels = np.empty(0, np.int32), np.empty(0, np.uint16)

    def tail(self, room: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the free ends of both arrays, at least `room` long."""
        if self.size + room > len(self.neighbour):
            self._resize(max(self.size + room, len(self.neighbour) * 9 // 8))
        return self.neighbour[self.size :], self.level[self.size :]

    def close_rows(self, ends: list[np.ndarray], rows: int) -> None:
        """Merge the tiles written since the last call into that many whole rows."""
        ends = ends or [np.zeros(rows, dtype=np.int64)]
        base = int(self.start[self.rows])
        row_ends = ends[0] if len(ends) == 1 else self._merged(ends, slice(base, self.size))
        self.start[self.rows + 1 : self.rows + len(row_ends) + 1] = base + row_ends
        self.rows += len(row_ends)

    def _merged(self, ends: list[np.ndarray], block: slice) -> np.ndarray:
        """Merge the tiles in `block` into whole rows, and return the end of each row."""
        size = block.stop - block.start
        if size > len(self._columns):
            # Kept from block to block: fresh memory costs a page fault every 4 KiB.
            self._columns, self._levels = np.empty(size * 9 // 8, np.int32), np.empty(size * 9 // 8, np.uint16)
        columns, levels = self._columns[:size], self._levels[:size]
        columns[:], levels[:] = self.neighbour[block], self.level[block]
        return merge_tiles(np.stack(ends), columns, levels, self.neighbour[block], self.level[block])

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return start, neighbour and level of a `Conflicts`, without the room left over."""
        self.start[self.rows + 1 :] = self.size
        self._resize(self.size)
        return self.start, self.neighbour, self.level

    def _resize(self, size: int) -> None:
        self.neighbour.resize(size, refcheck=False)
        self.level.resize(size, refcheck=False)
