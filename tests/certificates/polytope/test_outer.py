"""The outer polytope: the program's optimum against another formulation, the order of methods, a solver that lies."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from certificates.networks import random_relu_net, sampled
from certificates.slopes.test_intermediate import convolutional, problem_of
from epsball import Classifier, certify
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, REAL, Problem, lp, lp_tight, wong_kolter
from epsball.certificates.linear import refiner
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.polytope import program
from epsball.certificates.polytope.program import Program
from epsball.certificates.slopes.final import Schedule, optimised_slopes, with_slopes
from epsball.errors import UnsupportedOperation
from epsball.graph import capture
from epsball_replay import replay

TOLERANCE = 1e-7


def residual(seed: int) -> nn.Module:
    """Return a network with a skip over a convolution, leaky and ordinary rectifiers."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.last = nn.Linear(48, 3)

        def forward(self, x):
            z = torch.relu(self.one(x))
            z = nn.functional.leaky_relu(z + self.two(z), 0.2)
            return self.last(z.flatten(1))

    torch.manual_seed(seed)
    return Residual().eval()


def problem(seed: int, norm: str, arithmetic=REAL) -> Problem:
    """Return a small problem: fully connected, convolutional or residual, by the seed."""
    ball = Ball(norm, {"linf": "1/10", "l1": "1/2", "l2": "1/3"}[norm])
    x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    if seed % 3 == 0:
        return problem_of(random_relu_net(seed, 16, (9, 7), 3), x.flatten(1), ball, arithmetic=arithmetic)
    if seed % 3 == 1:
        x = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
        return problem_of(capture(convolutional(seed), (1, 6, 6)), x, ball, arithmetic=arithmetic)
    return problem_of(capture(residual(seed), (1, 4, 4)), x, ball, arithmetic=arithmetic)


@pytest.mark.slow
@settings(max_examples=9)
@given(seed=st.integers(0, 3000))
def test_with_the_same_intermediate_bounds_the_program_is_nowhere_below_the_ascent_nor_that_below_a_sweep(seed):
    given_ = problem(seed, "linf")
    bounds = given_.propagate(refine=refiner(lower="every"))
    crown = final_bounds(bounds, given_.specification)
    slopes = optimised_slopes(bounds, given_.specification, Schedule(10, 0.25))
    ascent, best = with_slopes(bounds, given_, slopes, crown).rows, lp(given_).rows
    assert bool((ascent >= crown).all())
    assert bool((best >= ascent - TOLERANCE * (1 + ascent.abs())).all())
    assert bool((lp_tight(given_).rows >= best - TOLERANCE * (1 + best.abs())).all())


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_the_bound_is_the_optimum_of_the_program_written_out_densely(seed):
    graph = random_relu_net(seed, 5, (8, 6), 3)
    x = torch.rand(1, 5, generator=torch.Generator().manual_seed(seed))
    given_ = problem_of(graph, x, Ball("linf", "1/5"), arithmetic=REAL)
    bounds = given_.propagate(refine=refiner(lower="every"))
    found = lp(given_).rows[0].numpy()
    for row, specification in enumerate(given_.specification[0].numpy()):
        least = _written_out(graph, bounds.boxes, specification)
        assert found[row] == pytest.approx(least, rel=1e-6, abs=1e-6)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_wong_kolter_is_the_dual_of_the_program_whose_lower_lines_are_parallel_to_the_chords(seed):
    graph = random_relu_net(seed, 5, (8, 6), 3)
    x = torch.rand(1, 5, generator=torch.Generator().manual_seed(seed))
    found = wong_kolter(problem_of(graph, x, Ball("linf", "1/5"), arithmetic=REAL))
    problem_ = problem_of(graph, x, Ball("linf", "1/5"), arithmetic=REAL)
    for row, specification in enumerate(problem_.specification[0].numpy()):
        least = _written_out(graph, found.boxes, specification, parallel=True)
        assert found.rows[0, row].item() == pytest.approx(least, rel=1e-9, abs=1e-9)


def _written_out(graph, boxes, specification, *, parallel: bool = False) -> float:
    """Return the least value over x, z0, a0, z1, a1 with one equation per layer and three lines per neuron, or two."""
    weights = [(graph.parameters[f"w{i}"].double().numpy(), graph.parameters[f"b{i}"].double().numpy()) for i in (0, 1)]
    sizes = [5, 8, 8, 6, 6]
    starts = np.cumsum([0, *sizes])
    equal, right, above, most = [], [], [], []
    for layer, (weight, bias) in enumerate(weights):
        before, z, a = (slice(starts[k], starts[k + 1]) for k in (2 * layer, 2 * layer + 1, 2 * layer + 2))
        low, high = (end[0].numpy() for end in boxes[f"z{layer}"])
        for k in range(len(bias)):
            equation = np.zeros(starts[-1])
            equation[before], equation[z.start + k] = weight[k], -1.0
            equal.append(equation)
            right.append(-bias[k])
            slope = high[k] / (high[k] - low[k]) if low[k] < 0 < high[k] else float(low[k] >= 0)
            lines = [(slope, -slope * low[k] if low[k] < 0 < high[k] else 0.0, 1.0)]
            below = (0.0, 1.0) if low[k] < 0 < high[k] and not parallel else (slope,)
            lines += [(s, 0.0, -1.0) for s in below]
            for s, t, sign in lines:  # sign (a - s z) <= sign t
                line = np.zeros(starts[-1])
                line[a.start + k], line[z.start + k] = sign, -sign * s
                above.append(line)
                most.append(sign * t)
    cost = np.zeros(starts[-1])
    cost[starts[4] :] = specification @ graph.parameters["w2"].double().numpy()
    box = boxes["x"]
    ends = [(float(low), float(high)) for low, high in zip(box.low[0], box.high[0], strict=True)]
    ends += [(None, None)] * (starts[-1] - 5)
    solved = linprog(cost, np.array(above), np.array(most), np.array(equal), np.array(right), bounds=ends)
    return solved.fun + float(specification @ graph.parameters["b2"].double().numpy())


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), norm=st.sampled_from(["linf", "l2", "l1"]))
def test_wong_kolter_is_the_dual_network_of_the_paper(seed, norm):
    graph, x = random_relu_net(seed, 4, (7, 6), 3), torch.rand(1, 4, generator=torch.Generator().manual_seed(seed))
    ball = Ball(norm, "1/20", low=None, high=None)
    given_ = problem_of(graph, x, ball, arithmetic=REAL)
    found = wong_kolter(given_)
    weights = [
        (graph.parameters[f"w{i}"].double().numpy(), graph.parameters[f"b{i}"].double().numpy()) for i in range(3)
    ]
    ends = [tuple(end[0].numpy() for end in found.boxes[f"z{i}"]) for i in (0, 1)]
    for row, c in enumerate(given_.specification[0].numpy()):
        value = _dual_network(x[0].double().numpy(), 0.05, norm, weights, ends, -c)
        assert found.rows[0, row].item() == pytest.approx(value, rel=1e-9, abs=1e-9)


def _dual_network(x, radius, norm, weights, ends, c) -> float:
    """Return J(x, g(c)) of theorem 1: nu_k = -c, nu^_i = W_i^T nu_{i+1}, nu_i = D_i nu^_i, alpha = u / (u - l)."""
    nu, total = -c, 0.0
    for layer in (2, 1, 0):
        weight, bias = weights[layer]
        total += bias @ nu  # -sum nu^T b with the sign of nu reversed: what is bounded is -c^T z from below
        nu = weight.T @ nu
        if layer == 0:
            break
        low, high = ends[layer - 1]
        unstable = (low < 0) & (high > 0)
        slope = np.where(unstable, high / np.where(unstable, high - low, 1.0), (low >= 0).astype(float))
        total += np.sum(np.where(unstable, np.minimum(nu, 0) * slope * -low, 0.0))
        nu = slope * nu
    length = np.linalg.norm(nu, {"linf": 1, "l2": 2, "l1": np.inf}[norm])
    return total + nu @ x - radius * length


@settings(max_examples=4)
@given(seed=st.integers(0, 1000), size=st.sampled_from([1e-3, 1.0, np.inf]))
def test_multipliers_that_are_wrong_weaken_a_bound_and_never_break_it(seed, size):
    given_ = problem(seed, "linf")
    crown, best = METHODS["crown"](given_).rows, lp(given_).rows
    truth = program.Program._in_multipliers
    noise = np.random.default_rng(seed)

    def lying(self, duals):
        return truth(self, duals + (size * noise.standard_normal(duals.shape) if np.isfinite(size) else np.nan))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program.Program, "_in_multipliers", lying)
        rows = lp(given_).rows
    assert bool((rows <= best + TOLERANCE * (1 + best.abs())).all())
    assert bool((rows >= final_bounds(given_.propagate(refine=refiner(lower="every")), given_.specification)).all())
    assert not bool(rows.isnan().any())
    assert crown.shape == rows.shape


def test_a_solver_that_finds_no_optimum_leaves_the_slopes_of_the_relaxations(monkeypatch):
    given_ = problem(0, "linf")
    monkeypatch.setattr(program, "_PIVOTS", 1)
    swept = final_bounds(given_.propagate(refine=refiner(lower="every")), given_.specification)
    assert torch.equal(lp(given_).rows, swept)


@pytest.mark.parametrize("method", ["wong-kolter", "lp", "lp-tight"])
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_the_checker_accepts_what_is_certified(method, norm, tmp_path):
    module = convolutional(7)
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(7))
    y, ball = module(x).argmax(1), Ball(norm, {"linf": "1/200", "l1": "1/20", "l2": "1/40"}[norm])
    if norm == "l2" and method != "wong-kolter":
        with pytest.raises(UnsupportedOperation, match="not a polytope"):
            certify(Classifier(module), x, y, ball, method=method)
        return
    found = certify(Classifier(module), x, y, ball, method=method, folder=tmp_path)
    assert len(found.files) == int(found.stable.sum()) > 0
    for path in found.files.values():
        assert replay(path).accepted, json.dumps(replay(path).reason)


class Pointwise(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


OTHER_KINDS = {
    "max pooling": lambda x: nn.functional.max_pool2d(x, 2),
    "the greater of two": lambda x: torch.maximum(x[:, :2], x[:, 2:]),
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.2, 0.4),
    "leaky ReLU": lambda x: nn.functional.leaky_relu(x, 0.3),
    "a product": lambda x: x[:, :2] * x[:, 2:],
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_any_kind_of_node_has_a_program_that_is_no_worse_than_a_sweep_and_right(kind, norm, tmp_path):
    torch.manual_seed(3)
    middle = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), Pointwise(OTHER_KINDS[kind]), nn.ReLU(), nn.Flatten())
    module = nn.Sequential(middle, nn.Linear(middle(torch.zeros(1, 1, 4, 4)).shape[1], 12), nn.ReLU(), nn.Linear(12, 3))
    x, ball = torch.rand(2, 1, 4, 4), Ball(norm, {"linf": "1/10", "l1": "1"}[norm])
    given_ = problem_of(capture(module.eval(), (1, 4, 4)), x, ball, arithmetic=REAL)
    bounds, found = given_.propagate(refine=refiner(lower="every")), lp(given_).rows
    slopes = optimised_slopes(bounds, given_.specification, Schedule(10, 0.25))
    swept = with_slopes(bounds, given_, slopes, final_bounds(bounds, given_.specification)).rows
    assert bool((found >= swept - TOLERANCE * (1 + swept.abs())).all())
    points = sampled(ball, x, 200)
    margins = torch.einsum("nrc,knc->knr", given_.specification, module(points).double().view(200, 2, 3))
    assert bool((margins >= found - 1e-5).all())
    certified = certify(Classifier(module), x, module(x).argmax(1), Ball(norm, "1/1000"), method="lp", folder=tmp_path)
    assert all(replay(path).accepted for path in certified.files.values())


def test_programs_of_smooth_functions_are_no_worse_than_a_sweep():
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    given_ = problem_of(capture(module, (4,)), torch.rand(2, 4), Ball("linf", "1/10"), arithmetic=FLOAT32)
    assert bool((lp_tight(given_).rows >= METHODS["crown"](given_).rows).all())


def test_a_row_after_another_starts_from_its_basis():
    given_ = problem(2, "linf").take(slice(0, 1))
    solver = Program(given_.propagate(refine=refiner(lower="every")))
    output = given_.graph.output
    list(solver.slopes(output, given_.specification[0]))
    last = given_.specification[0][-1:]
    list(solver.slopes(output, last))
    assert solver.pivots == 0
