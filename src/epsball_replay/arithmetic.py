"""The two arithmetics of the checker: float64 with a bound on its rounding, and balls of python-flint.

A rounding error is bounded by gamma(n) = n u / (1 - n u), u = 2**-53, for n operations in any
order (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1); balls carry their own.
"""

from typing import Any, Protocol

import numpy as np
from flint import arb, ctx

Array = np.ndarray[Any, Any]

ctx.prec = 256


def gamma(n: float, unit: float = 2.0**-53) -> float:
    """Return n u / (1 - n u), rounded up generously."""
    return n * unit / (1 - n * unit) * (1 + 1e-9)


class Arithmetic(Protocol):
    """What the derivation needs: matrix products, numbers from floats, and a split into value and doubt."""

    unit: float

    def number(self, array: Array) -> Array:
        """Return float64 numbers in this arithmetic, exactly."""
        ...

    def product(self, a: Array, matrix: Any) -> Array:
        """Return A M for A (rows, n) and a sparse matrix M (n, m) of float64."""
        ...

    def settled(self, a: Array) -> tuple[Array, Array]:
        """Return coefficients without doubt, and in float64 a bound on the doubt taken away."""
        ...


class Floats:
    """float64; its rounding is charged by the derivation."""

    unit = 2.0**-53

    def number(self, array: Array) -> Array:
        """Return the array."""
        return array

    def product(self, a: Array, matrix: Any) -> Array:
        """Return A M."""
        return (matrix.T @ a.T).T

    def settled(self, a: Array) -> tuple[Array, Array]:
        """Return a: its doubt has been charged."""
        return a, np.zeros(1)


class Balls:
    """Balls of 256 bits: nearly every number of a derivation from floats is exact."""

    unit = 0.0

    def number(self, array: Array) -> Array:
        """Return exact balls."""
        return _to_arb(np.asarray(array, dtype=np.float64))

    def product(self, a: Array, matrix: Any) -> Array:
        """Return A M, a row at a time."""
        entries = matrix.tocoo()
        values, found = self.number(entries.data), np.zeros((len(a), matrix.shape[1]), dtype=object)
        for row, total in zip(a, found, strict=True):
            np.add.at(total, entries.col, row[entries.row] * values)
        return found

    def settled(self, a: Array) -> tuple[Array, Array]:
        """Return the midpoints, and the radii rounded up."""
        return _middle(a), upper(_radius(a))


def upper(balls: Array) -> Array:
    """Return float64 numbers not below the balls."""
    return np.nextafter(_float(_ceiling(balls)), np.inf)


def lower(balls: Array) -> Array:
    """Return float64 numbers not above the balls."""
    return -upper(-balls)


_to_arb: Any = np.frompyfunc(arb, 1, 1)
_middle: Any = np.frompyfunc(lambda value: arb(value).mid(), 1, 1)
_radius: Any = np.frompyfunc(lambda value: arb(value).rad(), 1, 1)
_ceiling: Any = np.frompyfunc(lambda value: arb(value).upper(), 1, 1)


def _float(balls: Array) -> Array:
    return np.asarray(balls, dtype=np.float64)
