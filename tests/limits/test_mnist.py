"""The validated numbers: digits 3 and 7 of MNIST, first 5,000 of each in the training set."""

from itertools import product

import numpy as np
import pytest
import torch

from epsball.ball import Ball
from epsball.data import load
from epsball.limits import link_columns, missed_witness, optimal_risk


@pytest.fixture(scope="module")
def three_seven(shared):
    x, y = load(f"idx:{shared / 'data' / 'mnist'},split=train")[:]
    rows = np.concatenate([np.flatnonzero(y.numpy() == digit)[:5000] for digit in (3, 7)])
    return x[rows], y[rows]


@pytest.fixture(scope="module")
def l2_curve(three_seven):
    return optimal_risk(*three_seven, radii=[2, 2.5, 3, 3.5, 4, 4.5, 5])


def printed(values) -> list[float]:
    return [round(value, 4) for value in values]


def test_l2(l2_curve):
    expected = [0.0001, 0.0029, 0.0183, 0.0737, 0.1908, 0.3678, 0.4805]
    assert printed(limit.risk.value for limit in l2_curve.curve) == expected
    assert all(limit.exact for limit in l2_curve.curve)
    states = np.bincount(l2_curve.hard[2], minlength=3)
    assert states[2] + states[1] // 2 == 183  # whoever must be given up, and one of each other pair
    width = np.sqrt(np.log(20) / 20000)
    assert l2_curve.at(3).distribution.interval.low == pytest.approx(0.0183 - width)


def test_cross_entropy(three_seven):
    losses = optimal_risk(*three_seven, radii=[2.5, 3, 3.5]).losses()
    assert [round(value, 6) for value in losses.cross_entropy] == [0.006707, 0.043442, 0.159540]


def test_first_200(three_seven):
    x, y = three_seven
    rows = np.concatenate([np.arange(200), 5000 + np.arange(200)])
    curve = optimal_risk(x[rows], y[rows], radii=[3, 4, 5]).curve
    assert printed(limit.risk.value for limit in curve) == [0.0025, 0.11, 0.4575]


@pytest.mark.slow
def test_linf(three_seven):
    result = optimal_risk(*three_seven, norm="linf", radii=[0.47, 0.495, 0.498, 0.5])
    assert printed(limit.risk.value for limit in result.curve) == [0.0001, 0.007, 0.1209, 0.5]
    assert result.at(0.5).stored == 0.5


def test_first_thousand_in_linf(three_seven):
    x, y = three_seven
    rows = np.concatenate([np.arange(500), 5000 + np.arange(500)])
    limit = optimal_risk(x[rows], y[rows], norm="linf", radii=[0.5]).curve[0]
    assert limit.risk.value == limit.stored == 0.5  # black and white meet in 1/2, a float32


def test_first_conflict(three_seven):
    """The nearest 3 and 7 are 2 * 1.8347 apart."""
    below, above = optimal_risk(*three_seven, radii=[1.8346, 1.8347]).curve
    assert (below.conflicts, above.conflicts) == (0, 1)


def test_link(three_seven):
    x, y = three_seven
    rows = torch.arange(0, 10000, 20)
    link = link_columns(x[rows].float() / 255, y[rows], Ball("l2", 4))
    assert link.columns["limit.hard"].count("safe") < 500
    assert missed_witness(link.limit, 1.0 - link.limit.stored) is None
    assert "missed at least one witness" in missed_witness(link.limit, 1.0)


def test_ties_of_8bit_pixels_counted_twice():
    """Of the 240 pairs k, k + 16 at radius 8/255, 64 have no common float32 point (design.md 13)."""
    k = np.arange(240)
    # The bits of k as further coordinates, black or white, keep the pairs apart from each other.
    apart = 255 * ((k[:, None] >> np.arange(8)) & 1)
    x = np.concatenate([np.column_stack([k, apart]), np.column_stack([k + 16, apart])]).astype(np.uint8)
    limit = optimal_risk(x, np.repeat([0, 1], 240), norm="linf", radii=["8/255"]).curve[0]
    assert limit.conflicts == 240
    assert limit.risk.value == 0.5
    assert limit.stored == (240 - 56 - 8) / 480


def test_a_wider_radius_admits_what_rounding_kept_apart():
    limits = optimal_risk(
        np.array([[k] for k in range(256)], np.uint8), np.arange(256) // 16 % 2, norm="linf",
        radii=["8/255", "81/2550"],
    ).curve  # fmt: skip
    assert limits[0].stored < limits[0].risk.value
    assert limits[1].stored == limits[1].risk.value == limits[0].risk.value


@pytest.mark.parametrize(("norm", "low"), list(product(["l2", "l1"], [0, 100])))
def test_touching_balls_of_l2_and_l1_count_only_with_a_common_float(norm, low):
    x = np.array([[low, low], [low + 3, low + 4]], np.uint8)
    limit = optimal_risk(x, np.array([0, 1]), norm=norm, radii=["5/510" if norm == "l2" else "7/510"]).curve[0]
    assert limit.risk.value == 0.5
    centres = torch.from_numpy(x).float() / 255
    ball = Ball(norm, limit.radius, None, None)
    midpoint = centres.double().mean(dim=0, keepdim=True).float().expand(2, -1)
    assert (limit.stored == 0.5) == bool(ball.contains(midpoint, centres).all())
