"""Exact statements about stored floats: directed rounding, error-free differences, integer sums."""

import math
from fractions import Fraction

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def float_below(value: Fraction | float, dtype: torch.dtype) -> float:
    """Return the largest float of `dtype` (float32 or float64) that is at most `value`."""
    rounded = float(value)
    if rounded > value:
        rounded = math.nextafter(rounded, -math.inf)
    narrow = torch.tensor(rounded, dtype=dtype)
    if narrow.item() > rounded:
        narrow = torch.nextafter(narrow, torch.tensor(-math.inf, dtype=dtype))
    return narrow.item()


def float_above(value: Fraction | float, dtype: torch.dtype) -> float:
    """Return the smallest float of `dtype` (float32 or float64) that is at least `value`."""
    return -float_below(-value, dtype)


def difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return s = fl(a - b) and e with a - b = s + e exactly (both float64, no overflow).

    References
    ----------
    Knuth, "The Art of Computer Programming 2", section 4.2.2, theorem B (the two-sum).
    """
    s = a - b
    virtual_b = a - s
    virtual_a = s + virtual_b
    return s, (a - virtual_a) + (virtual_b - b)


def beyond(a: Tensor, b: Tensor, radius: Fraction) -> Bool[Tensor, "*shape"]:
    """Return elementwise and exactly whether abs(a - b) > radius, for float64 a and b.

    With a - b = s + e and R = fl(radius): rounding is monotone, so abs(s) < R implies
    abs(a - b) < radius, and abs(s) > R the opposite. If abs(s) = R, the rest decides: sign(s) e is
    compared with radius - R rounded down to a float64, which changes no comparison with a float64.
    NaN is beyond every radius.
    """
    rounded = float(radius)
    rest = float_below(radius - Fraction(rounded), torch.float64)
    s, e = difference(a, b)
    size = s.abs()
    return ~((size < rounded) | ((size == rounded) & (e * s.sign() <= rest)))


def sum_within(a: Float[Tensor, " d"], b: Float[Tensor, " d"], radius: Fraction, power: int) -> bool:
    """Return exactly whether sum_i abs(a_i - b_i)^power <= radius^power, in integers.

    Floats are integers over a power of two, so both vectors are scaled by the largest denominator.
    """
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return False
    ratios = [(u.as_integer_ratio(), v.as_integer_ratio()) for u, v in zip(a.tolist(), b.tolist(), strict=True)]
    unit = max((max(u[1], v[1]) for u, v in ratios), default=1)
    total = sum(abs(u[0] * (unit // u[1]) - v[0] * (unit // v[1])) ** power for u, v in ratios)
    return total * radius.denominator**power <= (radius.numerator * unit) ** power


def inward(x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return z, x + w rounded to `dtype` towards x: abs(z_i - x_i) <= abs(w_i) holds exactly.

    `x` and `w` are float64, `x` holds values of `dtype`. The sum rounded to nearest is at most one unit
    too far out; the error-free difference shows where.
    """
    z = (x + w).to(dtype)
    s, e = difference(z.to(torch.float64), x)
    size, room = s.abs(), w.abs()
    too_far = (size > room) | ((size == room) & (e * s.sign() > 0))
    return torch.where(too_far, torch.nextafter(z, x.to(dtype)), z)
