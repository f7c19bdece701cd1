"""Projections against a generic convex solver."""

import cvxpy as cp
import numpy as np
import pytest
import torch

from ball.reference import NORMS, box_of
from epsball.ball import Ball

ORDER = {"linf": "inf", "l2": 2, "l1": 1}


def solved(ball, point, centre):
    """Return the solver's nearest point, accurate to about 1e-8 in its distance and 1e-4 in its coordinates."""
    z = cp.Variable(len(point))
    rules = [cp.norm(z - centre, ORDER[ball.norm]) <= float(ball.radius)]
    if ball.low is not None:
        rules += [z >= ball.low, z <= ball.high]
    cp.Problem(cp.Minimize(cp.sum_squares(z - point)), rules).solve(solver=cp.CLARABEL)
    return z.value


def drawn(norm, boxed, count=14, d=5):
    """Return points and centres: some centres on the box's faces, points inside and far outside the box."""
    generator = torch.Generator().manual_seed(len(norm) + 10 * boxed)
    centres = torch.rand(count, d, dtype=torch.float64, generator=generator)
    centres[::2] = (3 * centres[::2] - 1).clamp(0, 1)
    scales = torch.logspace(-1, 1, count, dtype=torch.float64)[:, None]
    return centres + scales * torch.randn(count, d, dtype=torch.float64, generator=generator), centres


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("boxed", [True, False])
def test_projections_are_nearest(norm, boxed):
    points, centres = drawn(norm, boxed)
    ball = Ball(norm, {"linf": "0.2", "l2": "0.4", "l1": "0.7"}[norm], **box_of(boxed))
    expected = torch.tensor(
        np.stack([solved(ball, p, c) for p, c in zip(points.numpy(), centres.numpy(), strict=True)])
    )
    assert not ball.contains(points, centres).all()
    least = (expected - points).norm(dim=1)
    for found in (ball.project(points, centres), ball.project(points.float(), centres.float()).double()):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)
        assert ((found - points).norm(dim=1) <= least + 5e-7).all()


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_projections_meet_the_optimality_conditions(norm):
    """To many digits: capped coordinates lie on the box, the others share one scale (l2) or one shift (l1)."""
    generator = torch.Generator().manual_seed(3)
    x = (3 * torch.rand(50, 40, dtype=torch.float64, generator=generator) - 1).clamp(0, 1)
    points = x + torch.randn(50, 40, dtype=torch.float64, generator=generator)
    ball = Ball(norm, "1.7")
    z = ball.project(points, x)
    w, d = z - x, points - x
    torch.testing.assert_close(ball.distance(z, x), torch.full((50,), 1.7, dtype=torch.float64), atol=1e-12, rtol=0)
    free = (z > 1e-12) & (z < 1 - 1e-12) & (w.abs() > 1e-9)
    for row in range(50):
        of_row = free[row]
        shared = (w / d)[row, of_row] if norm == "l2" else (d.abs() - w.abs())[row, of_row]
        assert of_row.any()
        torch.testing.assert_close(shared, shared[:1].expand_as(shared), atol=1e-12, rtol=1e-12)
        wanted = shared[0] * d[row].abs() if norm == "l2" else (d[row].abs() - shared[0]).clamp(min=0)
        assert (w[row].abs() <= wanted + 1e-12).all()


def test_the_intersection_is_not_one_projection_after_the_other():
    x, point = torch.tensor([[0.0, 0.0]]), torch.tensor([[-1.0, 1.0]])
    assert Ball("l2", "0.5").project(point, x)[0, 1].item() == pytest.approx(0.5, abs=1e-6)
    clipped = (Ball("l2", "0.5", None, None).project(point, x)).clamp(0, 1)
    assert clipped[0, 1].item() == pytest.approx(0.5**1.5, abs=1e-6)
