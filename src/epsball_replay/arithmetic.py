"""The two arithmetics of the checker: float64 with a bound on its rounding, and balls of python-flint.

A rounding error is bounded by gamma(n) = n u / (1 - n u), u = 2**-53, for n operations in any
order (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1). Balls, of 256 bits, carry their own:
they are for the functions that float64 does not know to the last bit.
"""

from typing import Any

import numpy as np
from flint import arb, ctx

from epsball_replay.network import Array

ctx.prec = 256
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


def upper(array: Array) -> Array:
    """Return float64 numbers not below balls."""
    return np.nextafter(np.asarray(_ceiling(array), dtype=np.float64), np.inf)
