"""The semidefinite relaxation: its place among the bounds, another formulation of it, and multipliers that lie."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from certificates.networks import random_relu_net, sampled
from certificates.polytope.test_outer import problem
from certificates.slopes.test_intermediate import problem_of
from epsball import Classifier, certify
from epsball.ball import Ball
from epsball.certificates import FLOAT32, REAL, Problem, milp, optimised, sdp
from epsball.certificates.linear import refiner
from epsball.certificates.linear.refinement import slope_choices
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.polytope.outer import over_polytope
from epsball.certificates.polytope.rectified import Rectified
from epsball.certificates.semidefinite import method
from epsball.certificates.semidefinite.cube import Cube, Multipliers
from epsball.certificates.semidefinite.method import start_of
from epsball.certificates.semidefinite.newton import solved
from epsball.certificates.semidefinite.proof import definite, proved
from epsball.certificates.slopes.final import Schedule, optimised_slopes, with_slopes
from epsball.errors import UnsupportedOperation
from epsball.graph import capture

ROUNDING = 1e-9


def small(seed: int, norm: str = "linf", arithmetic=REAL) -> Problem:
    """Return one example of a fully connected network of three inputs and nine neurons."""
    x = torch.rand(1, 3, generator=torch.Generator().manual_seed(seed))
    ball = Ball(norm, {"linf": "1/5", "l2": "1/3", "l1": "1/2"}[norm])
    return problem_of(random_relu_net(seed, 3, (5, 4), 3), x, ball, arithmetic=arithmetic)


def cube_of(given_: Problem) -> tuple[Cube, Multipliers]:
    """Return the quadratic constraints of an example, and the best multipliers of its rows."""
    bounds = given_.propagate(refine=refiner(lower="every"))
    network = Rectified.of(bounds, given_.graph.output, given_.specification[0])
    cube = Cube.of(network)
    rows = range(len(cube.constant))
    found = [solved(cube.of_row(row), start_of(network, cube.of_row(row), row)) for row in rows]
    return cube, Multipliers(*map(torch.cat, zip(*found, strict=True)))


@settings(max_examples=3)
@given(seed=st.integers(0, 3000))
def test_with_the_same_intermediate_bounds_the_methods_are_in_order(seed):
    given_ = small(seed) if seed % 2 else problem(3 * seed, "linf").take(slice(0, 1))
    bounds = given_.propagate(refine=refiner(lower="every"))
    crown = final_bounds(bounds, given_.specification)
    slopes = optimised_slopes(bounds, given_.specification, Schedule(10, 0.25))
    ascent = with_slopes(bounds, given_, slopes, crown).rows
    [parallel] = slope_choices(bounds, "parallel")
    rows = crown.shape[1]
    wide = {name: slope.expand(1, rows, *slope.shape[2:]) for name, slope in parallel.items()}
    wong_kolter = final_bounds(bounds, given_.specification, slopes=wide)
    linear = over_polytope(given_, bounds).rows
    size = ROUNDING * (1 + linear.abs())
    assert bool((crown <= ascent).all())
    assert bool((ascent <= linear + size).all())
    assert bool((wong_kolter <= linear + size).all())
    alone = proved(*cube_of(given_))
    assert bool((linear <= sdp(given_, steps=5).rows).all())
    assert bool((linear[0] <= alone + 1e-4 * (1 + linear[0].abs())).all())


@pytest.mark.parametrize("seed", range(2))
def test_the_bound_is_the_optimum_of_the_moment_matrix(seed):
    cvxpy = pytest.importorskip("cvxpy", reason="cvxpy solves the other formulation (extra test)")
    given_ = small(seed)
    found = proved(*cube_of(given_))
    network = Rectified.of(
        given_.propagate(refine=refiner(lower="every")), given_.graph.output, given_.specification[0]
    )
    d, n, k = network.inputs, len(network.low), len(network.chord)
    X = cvxpy.Variable((n + 1, n + 1), symmetric=True)
    v, r, W, w = X[0, 1:], X[0, 1 + d :], network.z.matrix, network.z.constant
    z = W @ v + w
    products = cvxpy.hstack([X[1 + d + i, 1 + d + i] - W[i] @ X[1 + d + i, 1:] - w[i] * r[i] for i in range(k)])
    low, high = network.low, network.high
    constraints = [X >> 0, X[0, 0] == 1, r >= 0, r >= z, r <= cvxpy.multiply(network.chord, z) + network.above]
    constraints += [products == 0, cvxpy.diag(X)[1:] <= cvxpy.multiply(low + high, v) - low * high]
    for row, c in enumerate(network.objective.matrix):
        least = cvxpy.Problem(cvxpy.Minimize(c @ v), constraints).solve(solver=cvxpy.CLARABEL)
        least += network.objective.constant[row]
        assert found[row].item() == pytest.approx(least, rel=1e-3, abs=1e-3)
        assert found[row].item() <= least + 1e-6 * (1 + abs(least))


@settings(max_examples=4)
@given(seed=st.integers(0, 1000), norm=st.sampled_from(["linf", "l2"]), size=st.sampled_from([1e-3, 1.0, np.inf]))
def test_multipliers_that_are_wrong_weaken_a_bound_and_never_break_it(seed, norm, size):
    given_ = small(seed, norm)
    (cube, best), generator = cube_of(given_), torch.Generator().manual_seed(seed)
    noise = (torch.randn(part.shape, generator=generator, dtype=torch.float64) for part in best)
    lying = Multipliers(
        *(part + (size * own if size < np.inf else np.nan) for part, own in zip(best, noise, strict=True))
    )
    rows, truth = proved(cube, lying), proved(cube, best)
    assert bool((rows <= truth + 1e-3 * (1 + truth.abs())).all())
    assert not bool(rows.isnan().any())
    points = sampled(Ball(norm, {"linf": "1/5", "l2": "1/3"}[norm]), given_.domain.centre.float(), 500)
    margins = given_.graph(points).double() @ given_.specification[0].T
    assert bool((margins >= rows - 1e-5 * (1 + rows.abs())).all())


@settings(max_examples=3)
@given(seed=st.integers(0, 1000))
def test_over_l2_balls_it_is_no_worse_than_slopes_and_right(seed):
    given_ = problem(seed, "l2").take(slice(0, 1))
    bounds = given_.propagate(refine=refiner(lower="every"))
    swept, rows = final_bounds(bounds, given_.specification), sdp(given_, steps=30).rows
    assert bool((rows >= swept).all())
    points = sampled(Ball("l2", "1/3"), given_.domain.centre.float(), 500)
    margins = given_.graph(points).double() @ given_.specification[0].T
    assert bool((margins >= rows - 1e-5 * (1 + rows.abs())).all())


def test_it_closes_much_of_the_gap_that_the_linear_program_leaves():
    for norm in ("linf", "l2"):
        given_ = problem(0, norm).take(slice(0, 1))
        assert bool((sdp(given_).rows > optimised(given_).rows + 0.05).any())


def test_claims_of_the_deployed_network_are_below_those_of_the_real_one():
    real, deployed = (sdp(small(1, "linf", arithmetic)).rows for arithmetic in (REAL, FLOAT32))
    assert bool((deployed <= real).all())
    assert bool((deployed >= real - 1e-3).all())


def test_without_room_for_newtons_matrix_the_ascent_is_of_first_order(monkeypatch):
    given_ = problem(0, "linf").take(slice(0, 1))
    linear = over_polytope(given_, given_.propagate(refine=refiner(lower="every"))).rows
    newton = sdp(given_).rows
    monkeypatch.setattr(method, "NEWTON", 0)
    rows = sdp(given_).rows
    assert bool(((linear <= rows) & (rows <= newton + 1e-3)).all())
    assert bool((rows > linear).any())
    none = sdp(Problem(**{**vars(given_), "max_memory": 1000})).rows
    assert torch.allclose(none, linear, rtol=0, atol=1e-9)


def test_absolute_values_leaky_and_parametric_rectifiers_are_covered():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 3)
            self.act = nn.PReLU(5, init=1.5)

        def forward(self, x):
            z = self.one(x).abs()
            return self.three(nn.functional.leaky_relu(self.two(self.act(z) - 0.5), 0.2))

    torch.manual_seed(2)
    module = Mixed().eval()
    for parameter in module.parameters():
        parameter.data *= 2
    given_ = problem_of(capture(module, (3,)), torch.rand(1, 3), Ball("linf", "1/4"), arithmetic=REAL)
    [exact] = milp(given_)
    assert bool((sdp(given_).rows[0] <= exact.value + 1e-7).all())
    assert bool((sdp(given_).rows >= optimised(given_).rows - 1e-6).all())
    reached = given_.specification[0] @ given_.graph(exact.x.float()).double().T
    assert torch.allclose(reached.diagonal(), exact.value, atol=1e-5)


def test_what_it_does_not_cover_is_named():
    with pytest.raises(UnsupportedOperation, match="l1 balls use 'lp'"):
        sdp(small(0, "l1"))
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    x = torch.rand(1, 3)
    with pytest.raises(UnsupportedOperation, match="tanh"):
        certify(Classifier(module), x, module(x).argmax(1), Ball("linf", "1/10"), method="sdp")


def test_a_matrix_that_is_not_positive_semidefinite_is_not_taken_for_one():
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(40, 40, generator=generator, dtype=torch.float64))
    values = torch.linspace(0.0, 3.0, 40, dtype=torch.float64)
    for least in (-1e-8, 1e-8):
        values[0] = least
        matrix = basis @ torch.diag(values) @ basis.mT
        shift = definite(0.5 * (matrix + matrix.mT))
        assert (shift is None) == (least < 0)
        assert shift is None or 0 < shift < 1e-10
    assert definite(torch.full((2, 2), torch.nan, dtype=torch.float64)) is None
