"""The second reading of ties: conflicts that have a verified common point among the machine's numbers.

8-bit data are integers, and two balls that just touch meet in one point. Their centres are stored
as float32, a little off: the stored balls may miss each other, or meet where no float32 lies. Only a
common point that a machine can hold forces a deployed classifier to err on one of the two.
"""

import dataclasses

import numpy as np
import torch

from epsball.ball import Ball
from epsball.limits.compiled import compiled
from epsball.limits.conflicts.compressed_rows import take_flags
from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample
from epsball.progress import report

_CHUNK = 8192


def verified(graph: Conflicts, data: Sample, norm: str) -> Conflicts:
    """Return the graph without flags, and with `active`: the level at which a common point is verified.

    Every flagged pair is tried with the midpoint of its stored centres, rounded to the nearest of
    their numbers. In linf that decides: where any number fits, coordinate by coordinate, the one
    nearest to the midpoint does. In l2 and l1 a pair may be left out that has another common point.
    """
    near = take_flags(graph.level)
    tables = _pixel_tables(graph, data) if len(near) and norm == "linf" and data.scale else None
    first = np.empty(len(near), dtype=np.uint16)
    for done in range(0, len(near), _CHUNK):
        chunk = slice(done, done + _CHUNK)
        first[chunk] = _first_verified(graph, data, norm, near[chunk], tables)
        report("ties", min(done + _CHUNK, len(near)), len(near))
    if np.array_equal(first, graph.level[near]):
        return graph
    active = graph.level.copy()
    active[near] = first
    return dataclasses.replace(graph, active=active)


def _first_verified(
    graph: Conflicts, data: Sample, norm: str, edges: np.ndarray, tables: np.ndarray | None
) -> np.ndarray:
    """Return for each edge the first level with a verified common point, or the number of levels."""
    u, v = graph.rows_of(edges), graph.neighbour[edges]
    level = graph.level[edges].astype(np.int64)
    waiting = np.arange(len(edges))
    while len(waiting):
        holds = np.zeros(len(waiting), dtype=bool)
        for j in np.unique(level[waiting]):
            rows = np.flatnonzero(level[waiting] == j)
            pairs = u[waiting[rows]], v[waiting[rows]]
            if tables is None:
                holds[rows] = _midpoint_serves(data, Ball(norm, graph.radii[j], None, None), *pairs)
            elif tables[j].all():
                holds[rows] = True
            else:
                holds[rows] = _all_meet(data.rows(pairs[0]), data.rows(pairs[1]), tables[j])
        waiting = waiting[~holds]
        level[waiting] += 1
        waiting = waiting[level[waiting] < len(graph.radii)]
    return level


def _midpoint_serves(data: Sample, ball: Ball, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return whether the rounded midpoint of each pair of centres lies in both balls, exactly."""
    a, b = torch.from_numpy(data.centres(u)), torch.from_numpy(data.centres(v))
    return _common(ball, a, b).numpy()


def _common(ball: Ball, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    points = midpoints(a, b)
    return ball.contains(points, a) & ball.contains(points, b)


def midpoints(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the midpoint of each pair of rows, rounded to the nearest of their numbers."""
    return ((a.double() + b.double()) / 2).to(a.dtype)


def _pixel_tables(graph: Conflicts, data: Sample) -> np.ndarray:
    """Return (k, 256, 256): do the stored pixels i and j have a common number at each radius."""
    pixels = torch.from_numpy(data.pixels())
    i, j = (index.ravel() for index in np.indices((256, 256)))
    far = np.abs(i - j).reshape(256, 256)
    tables = np.empty((len(graph.radii), 256, 256), dtype=bool)
    for level, radius in enumerate(graph.radii):
        ball = Ball("linf", radius, None, None)
        limit = int(2 * radius * (data.scale or 1))
        tables[level] = far <= limit
        # Only gaps at the limit can fail: the next smaller ones leave a whole pixel of room.
        tie = np.flatnonzero(far.ravel() == limit)
        tables[level].ravel()[tie] = _common(ball, pixels[i[tie], None], pixels[j[tie], None]).numpy()
    return tables


@compiled()
def _all_meet(a, b, table):
    """Return for each pair of rows whether every coordinate's pixels meet."""
    out = np.ones(a.shape[0], np.bool_)
    for i in range(a.shape[0]):
        for p in range(a.shape[1]):
            if not table[a[i, p], b[i, p]]:
                out[i] = False
                break
    return out
