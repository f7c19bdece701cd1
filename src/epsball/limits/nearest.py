"""The separation of the classes: the least distance between examples of different label."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from epsball.errors import InputError
from epsball.limits.conflicts import conflicts
from epsball.limits.sample import Sample, part_of, sample
from epsball.limits.thresholds import check_norm

_TRIAL = 300


@dataclass(frozen=True, kw_only=True)
class Separation:
    """The nearest two examples of different label.

    Parameters
    ----------
    distance
        Their distance in pixel units; balls of half of it touch for the first time.
    first, second
        Their positions in the data.
    """

    distance: float
    first: int
    second: int


def separation(x: Any, y: Any, *, norm: str = "linf", queries: Any = None) -> Separation:
    """Return the least distance between examples of different label.

    Parameters
    ----------
    x, y
        (n, ...) points and (n,) labels, as in `optimal_risk`.
    norm
        linf, l2 or l1.
    queries
        (n,) booleans: only pairs with exactly one example marked count, such as test against train.

    References
    ----------
    Yang, Rashtchian, Zhang, Salakhutdinov and Chaudhuri, "A closer look at accuracy vs.
    robustness", NeurIPS 2020.
    """
    check_norm(norm)
    data = sample(x, y)
    marks = np.zeros(len(data), dtype=bool) if queries is None else np.asarray(queries, dtype=bool)[data.order]
    positions = np.unique(np.linspace(0, len(data) - 1, _TRIAL).astype(np.int64))
    reach = _spread(data, norm)
    # A radius that some pair of a small part attains leaves few candidates of the whole.
    for part, kept in ((part_of(data, positions), marks[positions]), (data, marks)):
        if len(part.classes) < 2:
            continue
        graph = conflicts(part, norm, (reach,))
        u, v = graph.rows_of(np.arange(len(graph))), graph.neighbour
        if queries is not None:
            u, v = u[kept[u] != kept[v]], v[kept[u] != kept[v]]
        if len(u):
            keys = _keys(part, norm, u, v)
            nearest = int(np.argmin(keys))
            found = keys[nearest], int(part.order[u[nearest]]), int(part.order[v[nearest]])
            reach = Fraction(float(keys[nearest])) / (2 * (part.scale or 1)) * Fraction(2**40 + 1, 2**40)
    if reach == _spread(data, norm):
        raise InputError("no pair of different label is marked on one side only; check `queries`.")
    return Separation(distance=float(found[0]) / (data.scale or 1), first=found[1], second=found[2])


def _spread(data: Sample, norm: str) -> Fraction:
    """Return a radius that every pair reaches."""
    diameter = Fraction(2 * data.magnitude) * (1 if norm == "linf" else data.dimension)
    return diameter + 1


def _keys(data: Sample, norm: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the distances of the pairs in the units of the data, a chunk at a time."""
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    chunks = np.array_split(np.arange(len(u)), max(1, len(u) // 2048))
    return np.concatenate(
        [np.linalg.norm(data.rows(u[c]).astype(float) - data.rows(v[c]).astype(float), order, axis=1) for c in chunks]
    )
