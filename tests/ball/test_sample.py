"""Draws against the laws of the uniform distribution, by Kolmogorov and Smirnov's test at a fixed key."""

import pytest
import torch
from scipy import stats

from ball.reference import DTYPES, NORMS
from epsball.ball import Ball
from epsball.randomness import Keys

N, D, RADIUS = 4000, 7, 0.3

# Of one coordinate divided by the radius, in dimension D.
MARGINAL = {
    "linf": stats.uniform(-1, 2).cdf,
    "l2": stats.beta((D + 1) / 2, (D + 1) / 2, loc=-1, scale=2).cdf,
    "l1": lambda t: 0.5 + 0.5 * torch.tensor(t).sign().numpy() * (1 - (1 - abs(t)) ** D),
}


def draws(norm, dtype=torch.float64, seed=0):
    keys = Keys.of_positions(torch.arange(N), seed)
    centre = torch.full((N, D), 0.25, dtype=dtype)
    ball = Ball(norm, RADIUS, None, None)
    return ball, ball.sample(centre, keys), centre


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_radii_follow_u_to_the_1_over_d(norm, dtype):
    ball, points, centre = draws(norm, dtype)
    share = (ball.distance(points, centre) / RADIUS) ** D
    assert stats.kstest(share.numpy(), "uniform").pvalue > 0.01
    assert ball.contains(points, centre).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("coordinate", [0, D - 1])
def test_coordinates_follow_their_marginals(norm, coordinate):
    _, points, centre = draws(norm)
    shifts = ((points - centre)[:, coordinate] / RADIUS).numpy()
    assert stats.kstest(shifts, MARGINAL[norm]).pvalue > 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_coordinates_are_uncorrelated_and_signs_independent(norm):
    _, points, centre = draws(norm)
    correlation = torch.corrcoef((points - centre).T) - torch.eye(D, dtype=torch.float64)
    assert correlation.abs().max() < 4.5 / N**0.5
    signs = torch.corrcoef((points - centre).sign().T) - torch.eye(D, dtype=torch.float64)
    assert signs.abs().max() < 4.5 / N**0.5


@pytest.mark.parametrize("norm", NORMS)
def test_a_draw_depends_on_its_key_alone(norm):
    ball, points, centre = draws(norm)
    order = torch.tensor([5, 2, 3999])
    keys = Keys.of_positions(torch.arange(N), 0)
    assert torch.equal(ball.sample(centre[order], keys[order]), points[order])
    assert not torch.equal(draws(norm, seed=1)[1], points)


@pytest.mark.parametrize("norm", NORMS)
def test_draws_are_projected_onto_the_box(norm):
    keys = Keys.of_positions(torch.arange(50), 0)
    x = torch.zeros(50, 1, 5, 5)
    ball = Ball(norm, 1)
    points = ball.sample(x, keys)
    assert points.shape == x.shape
    assert ball.contains(points, x).all()
    assert (points == 0).any()
    assert (points > 0).any()
