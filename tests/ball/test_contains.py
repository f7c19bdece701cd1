import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ball.reference import DTYPES, NORMS, RADII, box_of, cases, contained
from epsball.ball import Ball
from epsball.pixels import from_8bit

DYADIC = st.integers(-64, 64).map(lambda k: k / 64)


@given(cases(reach=1.5))
def test_contains_agrees_with_fractions(case):
    ball, points, centres = case
    assert ball.contains(points, centres).item() == contained(ball, points, centres)


@given(
    st.sampled_from(NORMS),
    st.sampled_from(DTYPES),
    st.lists(st.tuples(DYADIC, DYADIC), min_size=1, max_size=4),
    st.integers(0, 200),
    st.sampled_from((-math.inf, None, math.inf)),
)
def test_points_on_the_sphere_and_their_neighbours(norm, dtype, pairs, k, towards):
    """Dyadic coordinates and radii meet exactly; one float further decides otherwise."""
    points, centres = torch.tensor(pairs, dtype=dtype).unbind(dim=1)
    gaps = [abs(Fraction(p) - Fraction(c)) for p, c in pairs]
    radius = {"linf": max(gaps), "l1": sum(gaps), "l2": Fraction(k, 64)}[norm]
    if towards is not None:
        points[0] = torch.nextafter(points[0], points.new_tensor(towards))
    ball = Ball(norm, radius, None, None)
    assert ball.contains(points[None], centres[None]).item() == contained(ball, points, centres)


def test_pythagorean_ties_are_counted_in_integers():
    triples = torch.tensor([[3.0, 4.0], [5.0, 12.0], [8.0, 15.0]])
    zero = torch.zeros_like(triples)
    for row, hypotenuse in enumerate((5, 13, 17)):
        ball = Ball("l2", hypotenuse, None, None)
        outside = torch.nextafter(triples[row], torch.full((2,), math.inf))
        assert ball.contains(triples[row : row + 1], zero[:1]).item()
        assert not ball.contains(outside[None], zero[:1]).item()
        assert (
            not Ball("l2", Fraction(hypotenuse) - Fraction(1, 10**30), None, None)
            .contains(triples[row][None], zero[:1])
            .item()
        )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("boxed", [True, False])
def test_values_that_are_not_finite_are_in_no_ball(norm, boxed):
    x = torch.full((3, 4), 0.5)
    points = x.clone()
    points[:, 1] = torch.tensor([math.nan, math.inf, -math.inf])
    ball = Ball(norm, 1, **box_of(boxed))
    assert not ball.contains(points, x).any()
    assert not ball.at(x).inside(points).any()


def test_the_types_of_points_and_centres_may_differ():
    ball = Ball("linf", "0.1")
    x = torch.zeros(1, 1)
    assert ball.contains(torch.tensor([[0.1 - 2**-50]], dtype=torch.float64), x).item()
    assert not ball.contains(torch.tensor([[0.1]], dtype=torch.float64), x).item(), "the double 0.1 exceeds 1/10"
    assert not ball.contains(torch.tensor([[0.1]]), x).item()


@pytest.mark.parametrize("steps", [1, 8, 16])
@pytest.mark.parametrize("norm", NORMS)
def test_all_pairs_of_8bit_pixels(norm, steps):
    """With float32 centres k/255, a difference of exactly `steps` is inside for some pairs and not for others."""
    pixels = from_8bit(torch.arange(256, dtype=torch.uint8))
    exact = [Fraction(value) for value in pixels.tolist()]
    ball = Ball(norm, Fraction(steps, 255))
    points, centres = pixels.repeat(256)[:, None], pixels.repeat_interleave(256)[:, None]
    found = ball.contains(points, centres).view(256, 256)
    for k in range(256):
        for other in range(max(0, k - steps - 1), min(256, k + steps + 2)):
            assert found[k, other].item() == (abs(exact[k] - exact[other]) <= ball.radius)
    assert found.sum() < 256 * (2 * steps + 1)
    ties = torch.stack([found.diagonal(steps), found.diagonal(-steps)])
    assert ties.any()
    assert not ties.all()


@given(st.sampled_from(("l2", "l1")), RADII)
def test_magnitudes_whose_squares_overflow_or_vanish(norm, radius):
    for scale in (2.0**900, 2.0**-600, 2.0**-1060):
        x = torch.zeros(2, 2, dtype=torch.float64)
        points = torch.tensor([[3.0, 4.0], [0.0, 6.0]], dtype=torch.float64) * scale
        ball = Ball(norm, Fraction(scale) * (5 if norm == "l2" else 7) + Fraction(radius) * 0, None, None)
        assert ball.contains(points, x).tolist() == [True, norm == "l1"]
