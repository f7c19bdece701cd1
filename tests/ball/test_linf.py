import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ball.reference import DTYPES, RADII, vectors
from epsball.ball import Ball
from epsball.ball.linf import LINF, upper_bound
from epsball.pixels import from_8bit


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.data())
def test_the_bounds_are_the_extreme_floats(dtype, data):
    x = data.draw(vectors(3, dtype, -2.0, 2.0))
    radius = data.draw(RADII.map(Fraction) | st.sampled_from([abs(Fraction(v)) for v in x[0].tolist()]))
    bound = upper_bound(x, radius)
    above = torch.nextafter(bound, torch.full_like(bound, math.inf))
    for centre, inside, outside in zip(x[0].tolist(), bound[0].tolist(), above[0].tolist(), strict=True):
        assert Fraction(inside) - Fraction(centre) <= radius < Fraction(outside) - Fraction(centre)


def test_cancelling_sums_keep_the_rest_of_the_radius():
    """At x = -fl(1/10) the bound is 1/10 - fl(1/10), far below the unit of x."""
    x = torch.tensor([[-0.1]], dtype=torch.float64)
    bound = upper_bound(x, Fraction(1, 10)).item()
    exact = Fraction(1, 10) - Fraction(0.1)
    assert Fraction(bound) <= exact < Fraction(math.nextafter(bound, math.inf))


@pytest.mark.parametrize("steps", [1, 8, 16])
def test_bounds_of_8bit_pixels_and_the_box(steps):
    x = from_8bit(torch.arange(256, dtype=torch.uint8))[:, None]
    region = LINF.around(x, Fraction(steps, 255), 0.0, 1.0)
    ball = Ball("linf", Fraction(steps, 255))
    assert region.low.min() == 0
    assert region.high.max() == 1
    assert ball.contains(region.low, x).all()
    assert ball.contains(region.high, x).all()
    assert not ball.contains(torch.nextafter(region.low, torch.tensor(-math.inf)), x).any()
    assert not ball.contains(torch.nextafter(region.high, torch.tensor(math.inf)), x).any()


def test_a_large_batch_goes_in_pieces_with_the_same_result():
    x = torch.rand(300, 1000, generator=torch.Generator().manual_seed(0))
    whole = upper_bound(x, Fraction(1, 10))
    assert torch.equal(whole, torch.cat([upper_bound(row[None], Fraction(1, 10)) for row in x]))


def test_radii_beyond_the_largest_float32():
    x = torch.tensor([[3e38, -3e38]])
    assert upper_bound(x, Fraction(10**38)).tolist()[0] == [torch.finfo(torch.float32).max, pytest.approx(-2e38)]
    assert upper_bound(x, Fraction(10**39)).tolist() == [[torch.finfo(torch.float32).max] * 2]


def test_a_float_box_is_exact_in_float32():
    """The double 0.7 lies between two float32; the box ends at the lower one."""
    ball = Ball("linf", 1, 0.0, 0.7)
    z = ball.project(torch.ones(1, 1), torch.full((1, 1), 0.5))
    assert z.item() < 0.7 < math.nextafter(0.7, 1) <= torch.nextafter(z, torch.ones(1, 1)).item()
