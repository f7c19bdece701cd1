import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ball.reference import DTYPES, NORMS, box_of, cases, contained
from epsball.ball import Ball


def bits(x):
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int64)


@given(cases())
def test_the_projection_is_contained_and_idempotent(case):
    ball, points, centres = case
    found = ball.project(points, centres)
    assert found.dtype == points.dtype
    assert contained(ball, found, centres)
    assert torch.equal(bits(ball.project(found, centres)), bits(found))


@given(cases(reach=0.625))
def test_contained_points_come_back_bit_for_bit(case):
    ball, points, centres = case
    if contained(ball, points, centres):
        assert torch.equal(bits(ball.project(points, centres)), bits(points))
    assert torch.equal(bits(ball.project(centres, centres)), bits(centres))


def test_negative_zero_keeps_its_sign():
    x = torch.tensor([[-0.0, 0.5]])
    assert torch.equal(bits(Ball("l2", "0.1").project(x, x)), bits(x))


@given(cases(reach=2.0))
def test_no_coordinate_moves_away_from_the_point(case):
    """Each coordinate of the nearest point lies between the centre's and the point's."""
    ball, points, centres = case
    found = ball.project(points, centres)
    low, high = torch.minimum(points, centres), torch.maximum(points, centres)
    assert ((found >= low) & (found <= high)).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(exponent=st.integers(-37, 37), seed=st.integers(0, 10**6), k=st.integers(-60, 60))
def test_huge_and_tiny_magnitudes(norm, dtype, exponent, seed, k):
    generator = torch.Generator().manual_seed(seed)
    scale = 10.0**exponent
    x = torch.randn(3, 5, dtype=dtype, generator=generator) * scale
    points = x + torch.randn(3, 5, dtype=dtype, generator=generator) * 10.0 ** (exponent / 2)
    radius = Fraction(scale) * (Fraction(1, 2**-k) if k < 0 else Fraction(2**k))
    ball = Ball(norm, min(radius, Fraction(10**300)), None, None)
    for found in (ball.project(points, x), ball.at(x).project(points)):
        assert found.isfinite().all()
        assert ball.contains(found, x).all()
        assert all(contained(ball, f, c) for f, c in zip(found, x, strict=True))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_far_points_are_projected_to_the_sphere(norm, dtype):
    far = 1e30 if dtype == torch.float32 else 1e100
    x = torch.zeros(2, 3, dtype=dtype)
    points = torch.tensor([[far, -far, 0.0], [far, 1.0, 0.0]], dtype=dtype)
    found = Ball(norm, "0.5", None, None).project(points, x)
    each = {"linf": 0.5, "l2": math.sqrt(0.125), "l1": 0.25}[norm]
    expected = [[each, -each, 0.0], [0.5, 0.5 if norm == "linf" else 0.0, 0.0]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=dtype), atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("radius", ["1e-9", "1e-30", 0])
def test_a_radius_far_below_the_spacing_of_floats_gives_the_centre(norm, dtype, radius):
    x = torch.rand(4, 6, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    tiny = Fraction(radius) * (1 if dtype == torch.float32 else Fraction(1, 10**20))
    ball = Ball(norm, tiny)
    assert torch.equal(ball.project(1 - x, x), x)
    assert torch.equal(ball.at(x).project(1 - x), x)
    assert ball.contains(x, x).all()
    assert ball.at(x).inside(x).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(0, 3), (2,), (2, 1), (2, 3, 4, 5)])
def test_examples_of_any_shape_and_number(norm, shape):
    generator = torch.Generator().manual_seed(0)
    x, points = torch.rand(shape, generator=generator), torch.randn(shape, generator=generator)
    ball = Ball(norm, "0.2")
    found = ball.project(points, x)
    assert found.shape == shape
    assert ball.contains(found, x).shape == shape[:1]
    assert ball.at(x).project(points).shape == shape
    assert ball.at(x).x.shape == shape


@pytest.mark.parametrize("norm", NORMS)
def test_arguments_are_not_changed_and_no_gradient_is_recorded(norm):
    x = torch.rand(2, 8, generator=torch.Generator().manual_seed(0))
    points = (1 - x).requires_grad_()
    before = points.detach().clone()
    ball = Ball(norm, "0.1", **box_of(True))
    for found in (ball.project(points, x), ball.at(x).project(points), ball.at(x).project(x)):
        assert not found.requires_grad
        found.add_(1)
    assert torch.equal(points, before)
    assert torch.equal(x, 1 - before)
