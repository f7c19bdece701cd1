import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ball.reference import DTYPES, within
from epsball.ball.exact import beyond, difference, float_above, float_below, inward, sum_within

MODERATE = st.floats(-1e100, 1e100)
RADII = st.fractions(0, 10**6)


def after(value: float, towards: float, dtype: torch.dtype) -> float:
    return torch.nextafter(torch.tensor(value, dtype=dtype), torch.tensor(towards, dtype=dtype)).item()


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.fractions(-(10**9), 10**9) | st.floats(-1e30, 1e30).map(Fraction))
def test_directed_rounding_is_tight(dtype, value):
    low, high = float_below(value, dtype), float_above(value, dtype)
    assert Fraction(low) <= value <= Fraction(high)
    assert Fraction(after(low, math.inf, dtype)) > value > Fraction(after(high, -math.inf, dtype))


def test_directed_rounding_beyond_float32_and_of_infinities():
    largest = torch.finfo(torch.float32).max
    assert float_below(1e300, torch.float32) == largest
    assert float_above(1e300, torch.float32) == math.inf
    assert float_below(math.inf, torch.float32) == math.inf


@given(MODERATE, MODERATE)
def test_the_difference_is_error_free(a, b):
    s, e = difference(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert Fraction(s.item()) + Fraction(e.item()) == Fraction(a) - Fraction(b)


@given(st.floats(-10, 10), st.floats(-10, 10), RADII, st.sampled_from(("given", "distance", "rounded", "just less")))
def test_beyond_is_exact(a, b, radius, kind):
    distance = abs(Fraction(a) - Fraction(b))
    radius = {
        "given": radius,
        "distance": distance,
        "rounded": Fraction(float(distance)),
        "just less": max(distance - Fraction(1, 2**1200), Fraction(0)),
    }[kind]
    found = beyond(torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64), radius)
    assert found.item() == (distance > radius)


def test_nan_and_infinity_are_beyond():
    a = torch.tensor([math.nan, math.inf, -math.inf], dtype=torch.float64)
    assert beyond(a, torch.zeros_like(a), Fraction(10)).all()


@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(-4, 4)), min_size=1, max_size=5), RADII, st.sampled_from((1, 2)))
def test_sums_are_exact(pairs, radius, power):
    a, b = torch.tensor(pairs, dtype=torch.float64).unbind(dim=1)
    assert sum_within(a, b, radius, power) == within(a, b, f"l{power}", radius)
    total = sum(abs(Fraction(u) - Fraction(v)) for u, v in pairs)
    assert sum_within(a, b, total, 1)
    assert total == 0 or not sum_within(a, b, total * (1 - Fraction(1, 10**40)), 1)


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.floats(-1e3, 1e3, width=32), st.floats(-1e3, 1e3))
def test_inward_rounding_never_goes_further_and_is_tight(dtype, x, w):
    centre = torch.tensor([x], dtype=torch.float64)
    z = inward(centre, torch.tensor([w], dtype=torch.float64), dtype)
    assert z.dtype == dtype
    step = Fraction(z.item()) - Fraction(x)
    assert abs(step) <= abs(Fraction(w))
    assert step == 0 or (step > 0) == (w > 0)
    assume(w != 0)
    further = after(z.item(), math.copysign(math.inf, w), dtype)
    assert abs(Fraction(further) - Fraction(x)) > abs(Fraction(w)) or Fraction(x) + Fraction(w) == Fraction(further)
