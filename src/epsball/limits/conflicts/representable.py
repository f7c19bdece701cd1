"""Conflicts that have a verified common point among floats: the stricter of two readings of ties.

8-bit data are integers, and two balls that just touch meet in one point. Their centres are stored
as float32, a little off: the stored balls may miss each other, or meet where no float32 lies. Only a
common point that is a float forces a deployed classifier to err on one of the two.
"""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball import Ball, NormName
from epsball.compiled import compiled
from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample
from epsball.limits.conflicts.scans import NEAR
from epsball.progress import report

_CHUNK = 8192


def with_representable_levels(graph: Conflicts, data: Sample, norm: NormName) -> Conflicts:
    """Return the conflicts with the level from which a common float is verified; clear the flags of `graph`.

    Every flagged pair is tried with the midpoint of its stored centres, rounded to the nearest float.
    In linf that decides: where any float fits, coordinate by coordinate, the one nearest to the
    midpoint does. In l2 and l1 a pair may be left out that has another common point.

    Returns
    -------
    Conflicts
        They share all arrays but `level`; `graph` itself where all levels stay.
    """
    near = _take_flags(graph.level)
    tables = _pixel_tables(graph, data) if len(near) and norm == "linf" and data.scale else None
    verified = np.empty(len(near), dtype=np.uint16)
    for done in range(0, len(near), _CHUNK):
        chunk = slice(done, done + _CHUNK)
        verified[chunk] = _first_verified(graph, data, norm, near[chunk], tables)
        report("ties", min(done + _CHUNK, len(near)), len(near))
    if np.array_equal(verified, graph.level[near]):
        return graph
    level = graph.level.copy()
    level[near] = verified
    return dataclasses.replace(graph, level=level)


def _first_verified(
    graph: Conflicts, data: Sample, norm: NormName, edges: np.ndarray, tables: np.ndarray | None
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
                holds[rows] = _share_midpoint(data, Ball(norm, graph.radii[j], None, None), *pairs)
            elif tables[j].all():
                holds[rows] = True
            else:
                holds[rows] = _all_meet(data.rows(pairs[0]), data.rows(pairs[1]), tables[j])
        waiting = waiting[~holds]
        level[waiting] += 1
        waiting = waiting[level[waiting] < len(graph.radii)]
    return level


def _share_midpoint(data: Sample, ball: Ball, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return whether the rounded midpoint of each pair of centres lies in both balls, exactly."""
    a, b = torch.from_numpy(data.centres(u)), torch.from_numpy(data.centres(v))
    return _in_both(ball, a, b).numpy()


def _in_both(ball: Ball, a: Tensor, b: Tensor) -> Tensor:
    points = midpoints(a, b)
    return ball.contains(points, a) & ball.contains(points, b)


def midpoints(a: Float[Tensor, "n *shape"], b: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
    """Return the midpoint of each pair of rows, rounded to the nearest floats of their type.

    Examples
    --------
    >>> midpoints(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([[0.5000, 1.0000]])
    """
    return ((a.double() + b.double()) / 2).to(a.dtype)


def _pixel_tables(graph: Conflicts, data: Sample) -> np.ndarray:
    """Return (k, 256, 256): whether the stored pixels i and j share a float at each radius."""
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
        tables[level].ravel()[tie] = _in_both(ball, pixels[i[tie], None], pixels[j[tie], None]).numpy()
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


@compiled()
def _take_flags(level):
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
