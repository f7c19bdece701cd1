from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ball.reference import NORMS, within
from epsball.ball import Ball
from epsball.pixels import from_8bit


@given(st.sampled_from(NORMS), st.integers(0, 10**6), st.fractions(0, 2, max_denominator=510))
def test_8bit_overlap_counts_in_integers(norm, seed, radius):
    if norm == "linf":
        radius = radius / 2
    a, b = torch.randint(256, (2, 6, 1, 2, 2), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    found = Ball(norm, radius, 0, 255).overlap(a, b)
    exact = [within(u.double(), v.double(), norm, 510 * radius) for u, v in zip(a, b, strict=True)]
    assert found.tolist() == exact


@pytest.mark.parametrize("steps", [1, 8, 16])
def test_8bit_balls_that_touch_overlap(steps):
    k = torch.arange(256, dtype=torch.uint8)[:, None]
    a, b = k.repeat(256, 1), k.repeat_interleave(256, dim=0)
    for norm in NORMS:
        found = Ball(norm, Fraction(steps, 510)).overlap(a, b)
        assert torch.equal(found, ((a.int() - b.int()).abs() <= steps)[:, 0])


def test_stored_float_centres_may_differ_from_their_pixels():
    """Of the pairs k, k + 16 at radius 8/255, the float32 centres of 56 are too far apart."""
    k = torch.arange(240, dtype=torch.uint8)[:, None]
    ball = Ball("linf", "8/255")
    assert ball.overlap(k, k + 16).all()
    assert (~ball.overlap(from_8bit(k), from_8bit(k + 16))).sum() == 56


@given(st.sampled_from(NORMS), st.integers(0, 10**6))
def test_float_overlap_is_exact(norm, seed):
    a, b = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(seed))
    for radius in (Fraction(1, 5), abs(Fraction(a[0, 0].item()) - Fraction(b[0, 0].item())) / 2):
        found = Ball(norm, radius).overlap(a, b)
        assert found.tolist() == [within(u, v, norm, 2 * radius) for u, v in zip(a, b, strict=True)]
    assert Ball(norm, 0).overlap(a, a).all()


def test_huge_radii_and_identical_pixels():
    a = torch.randint(256, (3, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert Ball("l2", 10**30).overlap(a, 255 - a).all()
    for norm in NORMS:
        assert Ball(norm, 0).overlap(a, a).all()
