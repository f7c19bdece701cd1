"""The two arithmetics of the checker: float64 with a bound on its rounding, and balls of python-flint.

A rounding error is bounded by gamma(n) = n u / (1 - n u), u = 2**-53, for n operations in any
order (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1); balls carry their own.
Rows of coefficients are arrays of float64, or of objects that are balls of 256 bits: nearly every
number that is made from floats is exact in them.
"""

from typing import Any

import numpy as np
from flint import arb, ctx

from epsball_replay.network import Array

ctx.prec = 256
_exact: Any = np.frompyfunc(arb, 1, 1)
_middle: Any = np.frompyfunc(lambda value: arb(value).mid(), 1, 1)
_radius: Any = np.frompyfunc(lambda value: arb(value).rad(), 1, 1)
_ceiling: Any = np.frompyfunc(lambda value: arb(value).upper(), 1, 1)


def gamma(n: Any, unit: float = 2.0**-53) -> Any:
    """Return n u / (1 - n u), with room for its own rounding and for that of the numbers it multiplies.

    Raises
    ------
    OverflowError
        If n is beyond the error analysis.
    """
    if np.max(n) * unit > 0.25:
        raise OverflowError(f"sums of {n} terms are beyond the error analysis")
    return n * unit / (1 - n * unit) * (1 + 2.0**-20)


def balls(array: Array) -> Array:
    """Return exact balls of float64 numbers."""
    return _exact(np.asarray(array, dtype=np.float64))


def upper(array: Array) -> Array:
    """Return float64 numbers not below those given, floats or balls."""
    if array.dtype != object:
        return array
    return np.nextafter(np.asarray(_ceiling(array), dtype=np.float64), np.inf)


def lower(array: Array) -> Array:
    """Return float64 numbers not above those given, floats or balls."""
    return -upper(-array)


def settled(a: Array) -> tuple[Array, Array]:
    """Return coefficients without doubt, and in float64 a bound on the doubt taken away: none in floats."""
    return (_middle(a), upper(_radius(a))) if a.dtype == object else (a, np.zeros((1, 1)))


def positive(a: Array) -> Array:
    """Return where settled coefficients are above 0."""
    return np.asarray(a > 0, dtype=bool)


def times(a: Array, matrix: Any) -> Array:
    """Return A M for rows A and a sparse matrix M of float64, or a vector M that stands for a diagonal matrix."""
    if isinstance(matrix, np.ndarray):
        return a * matrix
    if a.dtype != object:
        return (matrix.T @ a.T).T
    entries = matrix.tocoo()
    values, product = balls(entries.data), np.zeros((len(a), matrix.shape[1]), dtype=object)
    for row, total in zip(a, product, strict=True):
        np.add.at(total, entries.col, row[entries.row] * values)
    return product
