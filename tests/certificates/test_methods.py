"""Laws of the methods: order, radius, norms, criterion, memory, cascades, and what they refuse."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from certificates.networks import random_relu_net
from epsball.ball import Ball
from epsball.certificates import (
    FLOAT32,
    METHODS,
    PLAIN,
    REAL,
    Domain,
    arithmetic_of,
    by_class,
    chapter_criterion,
    check_deployment,
    crown,
    interval,
    margins,
    optimised,
    propagate,
)
from epsball.certificates.linear import refiner
from epsball.errors import AssumptionError, InputError, ModelError
from epsball.graph import capture


def _setting(seed: int, norm: str = "linf", radius: str = "1/10"):
    graph = random_relu_net(seed, inputs=4, hidden=(6, 5), classes=3)
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed))
    return graph, Domain.of(Ball(norm, radius), x), margins(graph(x).argmax(dim=1), 3), x


@settings(max_examples=10)
@given(st.integers(0, 1000), st.sampled_from(["linf", "l2", "l1"]))
def test_bounds_hold_in_every_norm_and_fall_with_the_radius(seed, norm):
    before = None
    for radius in ("1/100", "1/10", "1/2"):
        graph, domain, specification, x = _setting(seed, norm, radius)
        ball = Ball(norm, radius)
        points = torch.cat([ball.project(x + float(ball.radius) * d, x) for d in torch.randn(64, 3, 4)])
        least = (graph(points).double().view(64, 3, 1, 3) * specification).sum(-1).amin(0)
        for method in METHODS.values():
            assert bool((method(graph, domain, specification).rows <= least).all())
        rows = crown(graph, domain, specification, arithmetic=REAL).rows
        assert before is None or bool((rows <= before + 1e-9).all())
        before = rows


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_optimised_is_nowhere_below_crown_and_memory_changes_nothing(seed):
    graph, domain, specification, _ = _setting(seed)
    rows = crown(graph, domain, specification).rows
    assert bool((optimised(graph, domain, specification, steps=3).rows >= rows - 1e-9).all())
    assert torch.allclose(crown(graph, domain, specification, max_memory=1).rows, rows, rtol=0, atol=1e-10)


def test_boxes_of_one_method_serve_the_next():
    graph, domain, specification, _ = _setting(3)
    first = crown(graph, domain, specification)
    again = interval(graph, domain, specification, boxes=first.boxes)
    assert bool((again.rows >= interval(graph, domain, specification).rows).all())


def test_the_chapters_criterion_is_sufficient_but_looser():
    stable, separate = 0, 0
    for seed in range(40):
        graph, domain, specification, x = _setting(seed, radius="1/20")
        predicted = graph(x).argmax(dim=1)
        bounds = propagate(graph, domain, REAL, refine=refiner())
        folded = (crown(graph, domain, specification, arithmetic=REAL).rows > 0).all(dim=1)
        criterion = chapter_criterion(bounds.boxes[graph.output], predicted)
        assert not bool((criterion & ~folded).any())
        stable, separate = stable + int(folded.sum()), separate + int(criterion.sum())
    assert stable > separate > 0


def test_intervals_train():
    """Plain intervals are differentiable in live parameters, and finite differences agree."""
    graph, domain, specification, _ = _setting(1)
    live = {name: tensor.double().requires_grad_() for name, tensor in graph.parameters.items()}

    def loss(w):
        rows = interval(graph, domain, specification, arithmetic=PLAIN, parameters={**live, "w1": w}).rows
        return rows.sum()

    assert torch.autograd.gradcheck(loss, (live["w1"].detach().clone().requires_grad_(),))


def test_by_class_spreads_the_rows():
    spread = by_class(torch.tensor([[1.0, 2.0]]), torch.tensor([1]))
    assert spread.tolist() == [[1.0, torch.inf, 2.0]]


def test_a_centre_outside_the_box_is_refused():
    with pytest.raises(InputError, match="leaves the box"):
        Domain.of(Ball("linf", 0.1), torch.tensor([[1.5]]))
    with pytest.raises(InputError, match="not finite"):
        Domain.of(Ball("linf", 0.1), torch.tensor([[torch.nan]]))
    with pytest.raises(InputError, match="unknown semantics"):
        arithmetic_of("float16")


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()


def test_a_float32_claim_is_refused_where_kernels_may_round_otherwise():
    graph = capture(_network(), (1, 4, 4))
    check_deployment(graph)
    with pytest.raises(ModelError, match="float64"):
        check_deployment(capture(_network().double(), (1, 4, 4)))
    with torch.autocast("cpu"), pytest.raises(AssumptionError, match="autocast"):
        check_deployment(graph)
    normed = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)).eval()
    with pytest.raises(AssumptionError, match="layer_norm"):
        check_deployment(capture(normed, (4,)))
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.raises(AssumptionError, match="bf16"):
            check_deployment(graph)
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_float32_claim_is_refused_where_convolutions_run_in_bfloat16():
    settings = torch.backends.mkldnn.conv
    before = settings.fp32_precision
    try:
        settings.fp32_precision = "bf16"
        with pytest.raises(AssumptionError, match=r"mkldnn\.conv\.fp32_precision is 'bf16'"):
            check_deployment(capture(_network(), (1, 4, 4)))
    finally:
        settings.fp32_precision = before


def test_convolutions_that_reach_nnpack_are_refused(monkeypatch):
    if not torch.backends.nnpack.is_available():
        pytest.skip("this PyTorch has no NNPACK")
    graph = capture(_network(), (1, 4, 4))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(AssumptionError, match="NNPACK"):
        check_deployment(graph)


def test_claims_differ_by_name():
    assert (REAL.name, FLOAT32.name) == ("real", "float32")
    assert arithmetic_of("float32") is FLOAT32
