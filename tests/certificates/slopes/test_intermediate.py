"""Slopes of intermediate bounds: never worse, never wrong, within memory, and replayed."""

import gzip
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from certificates.networks import random_relu_net
from epsball import Classifier, certify
from epsball.ball import Ball
from epsball.certificates import FLOAT32, PLAIN, REAL, Domain, margins, optimised, propagate
from epsball.certificates.linear import refiner
from epsball.certificates.linear.windows import spatial, window_at, windows_before
from epsball.certificates.slopes import intermediate
from epsball.certificates.slopes.neurons import own_entries
from epsball.graph import Graph, capture
from epsball_replay import replay

NORMS = ("linf", "l2", "l1")


def convolutional(seed: int) -> nn.Sequential:
    """Return a network of two convolutions, the second over windows at the border and inside."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(96, 12), nn.PReLU(12), nn.Linear(12, 3)),
    ).eval()


def bounds_and_without(graph: Graph, x: torch.Tensor, ball: Ball, monkeypatch, **options):
    """Return `optimised` with every undecided example within reach, its specification, and without its last stage."""
    specification = margins(graph(x).argmax(dim=1), graph.classes)
    with monkeypatch.context() as patch:
        patch.setattr(intermediate, "REACH", 1e9)
        found = optimised(graph, Domain.of(ball, x), specification, **options)
        patch.setattr(intermediate, "within_reach", lambda first, rows: torch.zeros(len(rows), dtype=torch.bool))
        return found, specification, optimised(graph, Domain.of(ball, x), specification, **options)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), norm=st.sampled_from(NORMS), arithmetic=st.sampled_from([REAL, FLOAT32]))
def test_bounds_hold_and_are_nowhere_below_those_without(seed, norm, arithmetic):
    graph = random_relu_net(seed, inputs=4, hidden=(8, 8, 6), classes=3)
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(seed))
    ball = Ball(norm, {"linf": "1/10", "l2": "1/5", "l1": "1/3"}[norm])
    with pytest.MonkeyPatch.context() as patch:
        found, specification, without = bounds_and_without(graph, x, ball, patch, arithmetic=arithmetic, steps=4)
    assert bool((found.rows >= without.rows).all())
    steps = torch.cat([torch.randn(200, *x.shape), torch.randn(56, *x.shape).sign()])
    points = torch.cat([ball.project(x + float(ball.radius) * step, x) for step in steps])
    logits = graph(points).double().view(len(steps), len(x), 1, 3)
    assert bool((found.rows <= (logits * specification).sum(-1).amin(0)).all())


def test_it_gains_what_final_slopes_cannot(monkeypatch):
    gained = 0
    for seed in range(3):
        graph = capture(convolutional(seed), (1, 8, 8))
        found, _, without = bounds_and_without(graph, torch.rand(1, 1, 8, 8), Ball("linf", "1/5"), monkeypatch)
        for number in found.entries:
            gained += int((found.rows[number] > without.rows[number] + 1e-3).any())
            assert found.passes[number] > 0
    assert gained


def test_boxes_are_those_of_the_slopes_and_hold(monkeypatch):
    graph, x, ball = capture(convolutional(0), (1, 8, 8)), torch.rand(1, 1, 8, 8), Ball("linf", "1/5")
    found, _, _ = bounds_and_without(graph, x, ball, monkeypatch)
    assert found.entries
    for _ in range(20):
        point = ball.project(x + 0.2 * torch.randn(x.shape).sign(), x)
        inside = propagate(graph, Domain.at(point), REAL)
        for name, box in found.boxes.items():
            assert bool((inside.boxes[name].high >= box.low).all() & (inside.boxes[name].low <= box.high).all()), name


def test_without_memory_entries_keep_their_bounds(monkeypatch):
    graph, x = capture(convolutional(1), (1, 8, 8)), torch.rand(1, 1, 8, 8)
    found, _, without = bounds_and_without(graph, x, Ball("linf", "1/5"), monkeypatch, max_memory=1)
    assert not found.entries
    assert torch.equal(found.rows, without.rows)
    bounds = propagate(graph, Domain.of(Ball("linf", "1/5"), x), REAL, refine=refiner())
    whole = own_entries(bounds, 10**9)
    last = [part for part in whole if part.window is None]
    size = sum(slope.numel() for part in last for slope in part.slopes.values())
    assert {part.node for part in whole} > {part.node for part in own_entries(bounds, size)} == {last[0].node}


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
    module = nn.Sequential(
        *(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    ).eval()
    for parameter in module.parameters():
        parameter.data *= 2
    return module


def least_undecided(graph: Graph, x: torch.Tensor, norm: str) -> Ball:
    """Return the ball of least radius, to 1/500, that `optimised` without its last stage does not certify."""
    specification = margins(graph(x).argmax(dim=1), graph.classes)
    decided, undecided = 0, 500
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intermediate, "within_reach", lambda first, rows: torch.zeros(len(rows), dtype=torch.bool))
        while undecided - decided > 1:
            middle = (decided + undecided) // 2
            found = optimised(graph, Domain.of(Ball(norm, f"{middle}/500"), x), specification)
            decided, undecided = (middle, undecided) if bool((found.rows > 0).all()) else (decided, middle)
    return Ball(norm, f"{undecided}/500")


@pytest.mark.parametrize(("build", "shape", "norm"), [(convolutional, (1, 8, 8), "linf"), (dense, (6,), "l2")])
def test_certificates_by_slopes_of_entries_are_accepted_and_not_without_them(build, shape, norm, tmp_path):
    module = build(0)
    graph, classifier = capture(module, shape), Classifier(module)
    rejected = 0
    for number, x in enumerate(torch.rand(2, 1, *shape)):
        ball, folder = least_undecided(graph, x, norm), tmp_path / str(number)
        found = certify(classifier, x, classifier.logits(x).argmax(1), ball, method="optimised", folder=folder)
        if not found.stable:
            continue
        path = found.files[0]
        assert replay(path).stable
        data = json.loads(gzip.decompress(path.read_bytes()))
        assert data["own_slopes"]
        data["own_slopes"] = []
        path.write_bytes(gzip.compress(json.dumps(data).encode()))
        rejected += not replay(path).stable
    assert rejected


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
