"""The grid of radii as thresholds on keys, exactly: a pair meets where d(x, x') <= 2 radius."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from typing import Any, NamedTuple, get_args

import numpy as np

from epsball.ball import NormName, parse_radius
from epsball.errors import InputError, nearest
from epsball.limits.conflicts.sample import Sample

_CELLS = 4096
_MOST_RADII = 2**15 - 2
_LARGEST_RADIUS = 10**30


class Thresholds(NamedTuple):
    """For each radius r_j: T_j, so that key <= T_j exactly if d <= 2 r_j, and the safe S_j <= T_j.

    Parameters
    ----------
    cut
        (k,) float64: T_j; integers below 2^53 for integer data, else rounded down.
    safe
        (k,) float64: the balls of a pair with key <= S_j share a float, however its centres are rounded.
    guide, cell
        guide[i] is the first j with T_j >= i / cell: where the search for a key's level starts.
    slack
        Relative error of a float key; 0 for integers.
    """

    cut: np.ndarray
    safe: np.ndarray
    guide: np.ndarray
    cell: float
    slack: float


def check_norm(norm: object) -> None:
    """Raise `InputError` unless `norm` is linf, l2 or l1."""
    names = get_args(NormName)
    if not isinstance(norm, str):
        raise InputError(f"norm is {norm!r}; norms are {', '.join(names)}.")
    if norm not in names:
        raise InputError(f"norm '{norm}' is unknown; norms are {', '.join(names)}.{nearest(norm, names)}")


def parse_grid(radii: Any) -> tuple[Fraction, ...]:
    """Return exact radii, or raise `InputError` unless they are non-negative and strictly increasing."""
    if isinstance(radii, str | bytes) or not isinstance(radii, Iterable):
        raise InputError(f"radii are {radii!r}; give a sequence of them, such as radii=[3].")
    grid = tuple(islice(map(parse_radius, radii), _MOST_RADII + 1))
    if not grid:
        raise InputError("there are no radii; give at least one, such as radii=[3].")
    if len(grid) > _MOST_RADII:
        raise InputError(f"there are more than {_MOST_RADII} radii; that many fit one grid. Take larger steps.")
    if grid[-1] > _LARGEST_RADIUS:
        raise InputError(f"a radius is larger than {_LARGEST_RADIUS:g}; the limit takes radii up to that.")
    for low, high in pairwise(grid):
        if not low < high:
            raise InputError(f"radius {high} follows {low}; radii must increase strictly, sort them first.")
    return grid


def thresholds(norm: NormName, radii: Sequence[Fraction], data: Sample) -> Thresholds:
    """Return the thresholds of a grid of radii.

    For integers on the scale S: linf and l1 have T = floor(2 r S), l2 has T = floor((2 r S)^2).
    For floats T is 2 r or (2 r)^2 rounded down. S_j is T_j for radii less `Sample.rounding_loss`.
    """
    loss, scale = data.rounding_loss(norm), data.scale
    units = scale or 1
    power = 2 if norm == "l2" else 1
    rounding = _integer_below if scale else _float_below
    cut = np.array([rounding((2 * r * units) ** power) for r in radii])
    safe = np.array([rounding(max(Fraction(0), (2 * r - loss) * units) ** power) for r in radii])
    largest = max(float(cut[-1]), 2.0**-100)
    low_ends = np.arange(_CELLS + 1) * (largest / _CELLS)
    # A cell lower than the key's own only lengthens the search, so the product may be rounded down.
    guide = np.searchsorted(cut, low_ends * (1.0 - 2.0**-40)).astype(np.int64)
    return Thresholds(
        cut=cut,
        safe=safe,
        guide=np.minimum(guide, len(cut)),
        cell=_CELLS / largest * (1.0 - 2.0**-45),
        slack=0.0 if scale else (data.dimension + 4) * 2.0**-52,
    )


def _integer_below(value: Fraction) -> float:
    return float(min(math.floor(value), 2**53))


def _float_below(value: Fraction) -> float:
    rounded = float(value)
    return rounded if Fraction(rounded) <= value else math.nextafter(rounded, -math.inf)
