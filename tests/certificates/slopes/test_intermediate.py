"""Slopes of intermediate bounds: never worse, never wrong, within memory, and replayed."""

import gzip
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from certificates.networks import random_relu_net, sampled
from epsball import Classifier, certify
from epsball.ball import Ball
from epsball.certificates import FLOAT32, PLAIN, REAL, Domain, LowerBounds, Problem, optimised, propagate
from epsball.certificates.linear import refiner
from epsball.certificates.linear.windows import spatial, window_at, windows_before
from epsball.certificates.slopes import intermediate
from epsball.certificates.slopes.neurons import neuron_slopes
from epsball.graph import Graph, capture
from epsball_replay import replay

NORMS = ("linf", "l2", "l1")


def doubled(*layers: nn.Module) -> nn.Sequential:
    """Return a chain of layers with parameters of twice the usual size, which linear bounds find hard."""
    module = nn.Sequential(*layers).eval()
    for parameter in module.parameters():
        parameter.data *= 2
    return module


def convolutional(seed: int) -> nn.Sequential:
    """Return a network of two convolutions, the second over windows at the border and inside."""
    torch.manual_seed(seed)
    return doubled(
        *(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(36, 8), nn.PReLU(8), nn.Linear(8, 3)),
    )


def problem_of(graph: Graph, x: torch.Tensor, ball: Ball, **options) -> Problem:
    return Problem.of(graph, Domain.of(ball, x), graph(x).argmax(dim=1), **options)


def with_and_without(problem: Problem, steps: int = 10) -> tuple[LowerBounds, LowerBounds]:
    """Return `optimised` with every example that is not stable within reach, and without its last stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intermediate, "REACH", 1e9)
        found = optimised(problem, steps=steps)
        patch.setattr(intermediate, "within_reach", lambda without, rows: torch.zeros(len(rows), dtype=torch.bool))
        return found, optimised(problem, steps=steps)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), norm=st.sampled_from(NORMS), arithmetic=st.sampled_from([REAL, FLOAT32]))
def test_bounds_hold_and_are_nowhere_below_those_without(seed, norm, arithmetic):
    graph = random_relu_net(seed, inputs=4, hidden=(8, 6), classes=3)
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(seed))
    ball = Ball(norm, {"linf": "1/10", "l2": "1/5", "l1": "1/3"}[norm])
    problem = problem_of(graph, x, ball, arithmetic=arithmetic)
    found, without = with_and_without(problem, steps=3)
    assert bool((found.rows >= without.rows).all())
    logits = graph(sampled(ball, x, 256)).double().view(256, len(x), 1, 3)
    assert bool((found.rows <= (logits * problem.specification).sum(-1).amin(0)).all())


@pytest.fixture(scope="module")
def bounded() -> tuple[Problem, LowerBounds, LowerBounds]:
    """Return the bounds of one example of a convolutional network, with and without the last stage."""
    graph = capture(convolutional(0), (1, 6, 6))
    x = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    problem = problem_of(graph, x, Ball("linf", "1/3"))
    return problem, *with_and_without(problem)


def test_it_gains_what_final_slopes_cannot(bounded):
    _, found, without = bounded
    assert found.passes[0] > 0
    assert bool((found.rows > without.rows + 1e-3).any())


def test_boxes_are_those_of_the_slopes_and_hold(bounded):
    problem, found, _ = bounded
    assert found.neuron_slopes
    x, ball = problem.domain.centre.float(), Ball("linf", "1/3")
    inside = propagate(problem.graph, Domain.at(sampled(ball, x, 20)), REAL).boxes
    for name, box in found.boxes.items():
        assert bool((inside[name].high >= box.low).all() & (inside[name].low <= box.high).all()), name


def test_without_memory_neurons_keep_their_bounds(bounded):
    problem, _, _ = bounded
    found, without = with_and_without(replace(problem, max_memory=1), steps=2)
    assert not found.neuron_slopes
    assert torch.equal(found.rows, without.rows)
    bounds = replace(problem, arithmetic=REAL).propagate(refine=refiner())
    whole = neuron_slopes(bounds, 10**9)
    last = [part for part in whole if part.window is None]
    size = sum(slope.numel() for part in last for slope in part.slopes.values())
    assert {part.node for part in whole} > {part.node for part in neuron_slopes(bounds, size)} == {last[0].node}


@settings(max_examples=10)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    place=st.integers(0, 10**6),
)
def test_windows_hold_everything_that_a_place_depends_on(kernel, stride, padding, dilation, place):
    layers = [
        nn.Conv2d(1, 2, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(2, 2, kernel, stride, min(padding, kernel // 2), dilation),
    ]
    if 5 + 2 * min(padding, kernel // 2) < dilation * (kernel - 1) + 1:
        return
    graph = capture(nn.Sequential(*layers, nn.ReLU(), nn.Flatten()).eval(), (1, 10, 10))
    node = [node for node in graph.nodes if spatial(node)][-1]
    window = window_at(place % (node.shape[1] * node.shape[2]), node.shape[1:])
    windows = windows_before(graph, node, window)
    x = torch.rand(1, 1, 10, 10, requires_grad=True)
    hidden = layers[0](x)
    (used,) = torch.autograd.grad(layers[2](hidden)[(..., *window)].sum(), hidden)
    outside = torch.ones_like(used, dtype=torch.bool)
    first = next(node for node in graph.nodes if spatial(node))
    reached = windows[first.name]
    assert reached is not None
    outside[(..., *reached)] = False
    assert not bool(used[outside].any())


def dense(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return doubled(
        *(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    )


@pytest.mark.parametrize(
    ("module", "shape", "ball"),
    [(convolutional(2), (1, 6, 6), Ball("linf", "11/25")), (dense(3), (6,), Ball("l2", "19/50"))],
    ids=["convolutional", "dense"],
)
def test_certificates_by_slopes_of_neurons_are_accepted_and_not_without_them(module, shape, ball, tmp_path):
    """The balls lie midway between the radius up to which final slopes are enough, and that up to which these are."""
    classifier, number = Classifier(module), 2 if ball.norm == "linf" else 0
    x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(number))
    found = certify(classifier, x, classifier.logits(x).argmax(1), ball, method="optimised", folder=tmp_path)
    assert bool(found.stable.all())
    path = found.files[0]
    assert replay(path).stable
    data = json.loads(gzip.decompress(path.read_bytes()))
    assert data["own_slopes"]
    data["own_slopes"] = []
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    assert not replay(path).stable


def test_inputs_that_are_always_zero_cost_no_rounding():
    torch.manual_seed(0)
    layer = nn.Linear(400, 3).eval()
    graph, x = capture(layer, (400,)), torch.rand(2, 400)
    x[0, 20:] = 0
    error = propagate(graph, Domain.at(x), FLOAT32).rounding[graph.output]
    real = propagate(graph, Domain.at(x), REAL).rounding[graph.output]
    assert error is not None
    assert real is not None
    unit = 2.0**-24
    size = x.double().abs() @ layer.weight.double().abs().T + layer.bias.double().abs()
    assert torch.allclose(error - real, unit * torch.tensor([[21.0], [401.0]]) * size, rtol=1e-4)
    exact = x.double() @ layer.weight.double().T + layer.bias.double()
    for order in torch.stack([torch.randperm(400) for _ in range(20)]):
        computed = (x[:, order] * layer.weight[:, order].unsqueeze(1)).cumsum(-1)[..., -1].T + layer.bias
        assert bool(((computed.double() - exact).abs() <= error).all())
    assert propagate(graph, Domain.at(x), PLAIN).rounding[graph.output] is None


def test_the_tightest_bounds_are_never_below_the_default_ones_and_hold():
    graph = capture(dense(0), (6,))
    x = torch.rand(3, 6)
    problem = Problem.of(graph, Domain.of(Ball("linf", "1/10"), x), graph(x).argmax(dim=1), arithmetic=REAL)
    default, tightest = optimised(problem), optimised(problem, tightest=True)
    assert bool((tightest.rows >= default.rows).all())
    assert float(tightest.rows.mean()) > float(default.rows.mean()) + 1e-4
    points = (x + 0.1 * (2 * torch.rand(500, 3, 6) - 1)).clamp(0, 1).double()
    logits = graph(points.flatten(0, 1), {name: value.double() for name, value in graph.parameters.items()})
    values = (problem.specification @ logits.view(500, 3, 3, 1))[..., 0]
    assert bool((values >= tightest.rows).all())
