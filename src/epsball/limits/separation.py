"""The separation of the classes: the least distance between examples of different label."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from epsball.ball import NormName
from epsball.errors import InputError
from epsball.limits.conflicts.graph import conflicts
from epsball.limits.conflicts.sample import ORDER, Sample, part_of, sample
from epsball.limits.conflicts.thresholds import check_norm

_TRIAL = 300


@dataclass(frozen=True, kw_only=True)
class Separation:
    """The nearest two examples of different label.

    Parameters
    ----------
    distance
        Their distance in pixel units; balls of half this radius are the first to touch.
    first, second
        Their positions in the data.

    Examples
    --------
    >>> separation(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([0, 1]), norm="l2").distance
    5.0
    """

    distance: float
    first: int
    second: int


def separation(x: Any, y: Any, *, norm: NormName = "linf", queries: Any = None) -> Separation:
    """Return the least distance between examples of different label.

    Parameters
    ----------
    x, y
        (n, ...) points and (n,) labels, as in `optimal_risk`.
    norm
        linf, l2 or l1.
    queries
        (n,) booleans: only pairs with exactly one marked example count, such as test against train.

    References
    ----------
    Yang, Rashtchian, Zhang, Salakhutdinov and Chaudhuri, "A closer look at accuracy vs.
    robustness", NeurIPS 2020.

    Examples
    --------
    >>> separation(np.array([[0.0], [0.5], [3.0]]), np.array([0, 1, 0]))
    Separation(distance=0.5, first=0, second=1)
    """
    check_norm(norm)
    data = sample(x, y)
    chosen = np.zeros(len(data), dtype=bool) if queries is None else np.asarray(queries, dtype=bool)
    if chosen.shape != (len(data),):
        raise InputError(f"queries have shape {chosen.shape} for {len(data)} examples; give one mark per example.")
    marks = chosen[data.order]
    positions = np.unique(np.linspace(0, len(data) - 1, _TRIAL).astype(np.int64))
    part = part_of(data, positions)
    # A radius at which some pair of a small part conflicts leaves few candidates in the whole.
    trial = (
        _nearest(part, norm, marks[positions], queries is None, _spread(data, norm)) if len(part.classes) > 1 else None
    )
    reach = Fraction(trial.distance) * (Fraction(1, 2) + Fraction(1, 2**40)) if trial else _spread(data, norm)
    found = _nearest(data, norm, marks, queries is None, reach)
    if found is None:
        raise InputError("no pair of different label has exactly one marked example; check `queries`.")
    return found


def _nearest(data: Sample, norm: NormName, marks: np.ndarray, every: bool, reach: Fraction) -> Separation | None:
    """Return the nearest allowed pair whose balls of radius `reach` meet, or None."""
    graph = conflicts(data, norm, (reach,))
    u, v = graph.rows_of(np.arange(len(graph))), graph.neighbour
    allowed = np.ones(len(u), dtype=bool) if every else marks[u] != marks[v]
    u, v = u[allowed], v[allowed]
    if not len(u):
        return None
    keys = _keys(data, norm, u, v)
    i = int(np.argmin(keys))
    return Separation(
        distance=float(keys[i]) / (data.scale or 1), first=int(data.order[u[i]]), second=int(data.order[v[i]])
    )


def _spread(data: Sample, norm: NormName) -> Fraction:
    """Return a radius that every pair reaches."""
    diameter = Fraction(2 * data.magnitude) * (1 if norm == "linf" else data.dimension)
    return diameter + 1


def _keys(data: Sample, norm: NormName, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the distances of the pairs in the units of the data, chunk by chunk."""
    chunks = np.array_split(np.arange(len(u)), max(1, len(u) // 2048))
    gaps = (data.rows(u[c]).astype(float) - data.rows(v[c]).astype(float) for c in chunks)
    return np.concatenate([np.linalg.norm(gap, ORDER[norm], axis=1) for gap in gaps])
