"""The hyperplane-and-box projection against a linear or quadratic programme, and the laws of `shorten`."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from epsball import Ball
from epsball.ball.hyperplane import displacement

ORDERS = [1.0, 2.0, float("inf")]


def case(seed, d, share=0.6, zeros=0.2):
    generator = torch.Generator().manual_seed(seed)
    z = torch.rand(3, d, generator=generator, dtype=torch.float64)
    z[0, : d // 3] = 0.0
    z[1, : d // 3] = 1.0
    w = torch.randn(3, d, generator=generator, dtype=torch.float64)
    w[torch.rand(3, d, generator=generator) < zeros] = 0.0
    most = torch.where(w > 0, w * (1 - z), w * -z).sum(1)
    gap = share * most * torch.tensor([1.0, 0.5, 0.05])
    return z, w, gap


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), d=st.sampled_from([1, 2, 5, 40]), share=st.floats(0.01, 0.99))
def test_the_displacement_is_feasible_and_of_least_norm(order, seed, d, share):
    z, w, gap = case(seed, d, share)
    v = displacement(order, w, gap, -z, 1 - z)
    assert ((z + v >= -1e-12) & (z + v <= 1 + 1e-12)).all()
    torch.testing.assert_close((w * v).sum(1), gap, rtol=2e-6, atol=1e-9)
    for i in range(3):
        assert float(torch.linalg.vector_norm(v[i], order)) <= least(order, z[i], w[i], gap[i]) * (1 + 1e-5) + 1e-7


def least(order, z, w, gap):
    """Return the least norm by scipy's solvers: linear programmes for 1 and infinity, SLSQP for 2."""
    z, w, gap, d = z.numpy(), w.numpy(), float(gap), len(z)
    if order == 2:
        start = np.zeros(d)
        found = minimize(
            lambda v: (v**2).sum(), start, jac=lambda v: 2 * v, bounds=list(zip(-z, 1 - z, strict=True)),
            constraints={"type": "eq", "fun": lambda v: w @ v - gap, "jac": lambda v: w},
            method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        return float(np.sqrt(found.fun)) if found.success else np.inf
    if order == 1:
        bounds = [(0, max(0.0, b)) for b in [*(1 - z), *z]]
        return linprog(np.ones(2 * d), A_eq=np.concatenate([w, -w])[None], b_eq=[gap], bounds=bounds).fun
    rows = np.block([[np.eye(d), -np.ones((d, 1))], [-np.eye(d), -np.ones((d, 1))]])
    bounds = [*zip(-z, 1 - z, strict=True), (0, None)]
    return linprog(
        np.r_[np.zeros(d), 1], A_ub=rows, b_ub=np.zeros(2 * d), A_eq=np.r_[w, 0][None], b_eq=[gap], bounds=bounds
    ).fun


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_hyperplane_beyond_the_box_gives_the_corner(order, dtype):
    z, w, gap = (tensor.to(dtype) for tensor in case(0, 50, share=3.0))
    v = displacement(order, w, gap, -z, 1 - z)
    corner = torch.where(w > 0, 1 - z, -z) * (w != 0)
    torch.testing.assert_close(v[0], corner[0])


@pytest.mark.parametrize("order", ORDERS)
def test_without_a_box_the_length_is_the_gap_over_the_dual_norm(order):
    _, w, gap = case(1, 60)
    inf = torch.full_like(w, torch.inf)
    v = displacement(order, w, gap, -inf, inf)
    dual = {1.0: torch.inf, 2.0: 2.0, torch.inf: 1.0}[order]
    torch.testing.assert_close(
        torch.linalg.vector_norm(v, order, dim=1), gap.abs() / torch.linalg.vector_norm(w, dual, dim=1),
        rtol=1e-6, atol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_a_zero_normal_moves_nothing(order):
    z, w, gap = case(2, 20)
    assert not displacement(order, torch.zeros_like(w), gap, -z, 1 - z).any()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shorten_agrees_with_the_projection_onto_a_ball_of_that_radius(norm, dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 3, 5, generator=generator, dtype=dtype)
    points = x + 0.7 * torch.randn(6, 3, 5, generator=generator, dtype=dtype)
    radii = torch.tensor([0.0, 0.01, 0.1, 0.3, 0.9, 50.0], dtype=torch.float64)
    found = Ball(norm, 0.5).at(x).shorten(points, radii)
    for i, radius in enumerate(radii.tolist()):
        if norm == "linf" and radius > 1:
            continue
        expected = Ball(norm, radius).project(points[i : i + 1], x[i : i + 1])
        torch.testing.assert_close(found[i : i + 1], expected, rtol=0, atol=2e-4 * radius + 1e-6)


def test_clip_stays_in_the_box_exactly():
    ball = Ball("l2", 1, 0.1, 0.7)
    x = torch.full((1, 4), 0.3)
    clipped = ball.at(x).clip(torch.tensor([[-1.0, 0.2, 0.65, 2.0]]))
    assert ball.in_box(clipped).all()
    assert clipped[0, 1] == torch.tensor(0.2)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_proximal_point_is_a_minimum(norm):
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    weight = torch.tensor([0.0, 0.1, 0.5, 1.0, 100.0], dtype=torch.float64)
    u = Ball(norm, 1).proximal(v, weight)
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]

    def cost(point):
        return weight * torch.linalg.vector_norm(point, order, dim=1) + (point - v).square().sum(1) / 2

    assert torch.equal(u[0], v[0])
    for _ in range(200):
        other = u + 0.05 * torch.randn(5, 12, generator=generator, dtype=torch.float64)
        assert (cost(u) <= cost(other) + 1e-6).all()
    assert u[4].abs().max() < 0.01
