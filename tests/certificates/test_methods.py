"""Laws of the methods: order, radius, norms, criterion, memory, old calls, and what they refuse."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from certificates.networks import random_relu_net, sampled
from certificates.soundness import CHECKED
from epsball import certificates
from epsball.ball import Ball
from epsball.certificates import (
    FLOAT32,
    PLAIN,
    REAL,
    Domain,
    Problem,
    arithmetic_of,
    by_class,
    check_deployment,
    crown,
    crown_ibp,
    forward,
    interval,
    lipschitz,
    optimised,
    separated,
)
from epsball.errors import AssumptionError, InputError, ModelError
from epsball.graph import capture


def _problem(seed: int, norm: str = "linf", radius: str = "1/10", arithmetic=FLOAT32) -> tuple[Problem, torch.Tensor]:
    graph = random_relu_net(seed, inputs=4, hidden=(6, 5), classes=3)
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed))
    predicted = graph(x).argmax(dim=1)
    return Problem.of(graph, Domain.of(Ball(norm, radius), x), predicted, arithmetic=arithmetic), x


_NOT_IN = {"l2": ("lp", "lp-tight"), "l1": ("sdp",)}
"""Methods that a norm has none of: linear programs are for polytopes."""


@settings(max_examples=6)
@given(st.integers(0, 1000), st.sampled_from(["linf", "l2", "l1"]))
def test_bounds_hold_in_every_norm_and_fall_with_the_radius(seed, norm):
    before = None
    for radius in ("1/100", "1/10", "1/2"):
        problem, x = _problem(seed, norm, radius)
        logits = problem.graph(sampled(Ball(norm, radius), x, 64)).double().view(64, 3, 1, 3)
        least = (logits * problem.specification).sum(-1).amin(0)
        for name, method in CHECKED.items():
            if name not in _NOT_IN.get(norm, ()):
                assert bool((method(problem).rows <= least).all())
        rows = crown(replace(problem, arithmetic=REAL)).rows
        assert before is None or bool((rows <= before + 1e-9).all())
        before = rows


@settings(max_examples=6)
@given(st.integers(0, 1000))
def test_optimised_is_nowhere_below_crown_and_memory_changes_nothing(seed):
    problem, _ = _problem(seed)
    rows = crown(problem).rows
    assert bool((optimised(problem, steps=3).rows >= rows - 1e-9).all())
    assert torch.allclose(crown(replace(problem, max_memory=1)).rows, rows, rtol=0, atol=1e-10)


def test_known_bounds_on_nodes_are_intersected_with():
    problem, _ = _problem(3)
    known, alone = crown(problem).boxes, problem.propagate().boxes
    for name, box in problem.propagate(boxes=known).boxes.items():
        assert bool((box.low >= torch.maximum(known[name].low, alone[name].low)).all())
        assert bool((box.high <= torch.minimum(known[name].high, alone[name].high)).all())


def test_the_chapters_criterion_is_sufficient_but_looser():
    stable, separate = 0, 0
    for seed in range(30):
        problem, x = _problem(seed, radius="1/20", arithmetic=REAL)
        found = crown(problem)
        folded = (found.rows > 0).all(dim=1)
        apart = separated(found.boxes[problem.graph.output], problem.graph(x).argmax(dim=1))
        assert not bool((apart & ~folded).any())
        stable, separate = stable + int(folded.sum()), separate + int(apart.sum())
    assert stable > separate > 0


def test_intervals_train():
    """Plain intervals are differentiable in live parameters, and finite differences agree."""
    problem, _ = _problem(1, arithmetic=PLAIN)
    live = {name: tensor.double().requires_grad_() for name, tensor in problem.graph.parameters.items()}

    def loss(w):
        return interval(problem, parameters={**live, "w1": w}).rows.sum()

    assert torch.autograd.gradcheck(loss, (live["w1"].detach().clone().requires_grad_(),))


@pytest.mark.parametrize("method", [interval, lipschitz, crown_ibp, forward, crown, optimised])
def test_the_call_of_version_0_1_still_works_until_0_3(method):
    problem, _ = _problem(2, arithmetic=REAL)
    with pytest.warns(DeprecationWarning, match=r"Problem\(graph=graph"):
        old = method(problem.graph, problem.domain, problem.specification, arithmetic=REAL, max_memory=None)
    assert torch.equal(old.rows, method(problem).rows)
    assert old.entries is old.neuron_slopes


def test_old_names_are_those_of_the_new_functions():
    assert certificates.margins is certificates.margin_rows
    assert certificates.chapter_criterion is certificates.separated


def test_by_class_spreads_the_rows():
    spread = by_class(torch.tensor([[1.0, 2.0]]), torch.tensor([1]))
    assert spread.tolist() == [[1.0, torch.inf, 2.0]]


def test_bad_input_is_refused(as_users_run):
    with pytest.raises(InputError, match="leaves the box"):
        Domain.of(Ball("linf", 0.1), torch.tensor([[1.5]]))
    with pytest.raises(InputError, match="not finite"):
        Domain.of(Ball("linf", 0.1), torch.tensor([[torch.nan]]))
    with pytest.raises(InputError, match="unknown semantics"):
        arithmetic_of("float16")  # pyright: ignore[reportArgumentType]


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
