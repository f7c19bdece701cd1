"""Bounds carried forward: against a computation by hand, against samples, and where they are used."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from certificates.networks import random_relu_net, relu_net, sampled
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, PLAIN, REAL, Domain, Problem, certify, methods_of, propagate
from epsball.certificates.linear.forward import box_of, form_of, forward_refiner
from epsball.classifier import Classifier
from epsball.graph import Graph, capture
from epsball_replay import replay


def wide() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 48), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(48, 3)).eval()


def all_boxes(graph: Graph, domain: Domain, arithmetic) -> dict:
    bounds, forms = propagate(graph, domain, arithmetic), {}
    for node in graph.nodes:
        forms[node.name] = form_of(bounds, node, forms)
    return {name: box_of(form, bounds) for name, form in forms.items()}


@pytest.mark.parametrize("arithmetic", [PLAIN, REAL, FLOAT32], ids=lambda claim: claim.name)
def test_a_small_network_by_hand(arithmetic):
    """On [-1/2, 3/2] x [-1, 1] both x1 + x2 and x1 - x2 lie in [-3/2, 5/2].

    There z <= relu(z) <= 5/8 z + 15/16, so relu(x1 + x2) - relu(x1 - x2) is at most -3/8 x1 + 13/8 x2 + 15/16 <= 11/4.
    """
    graph = relu_net(
        [(torch.tensor([[1.0, 1], [1, -1]]), torch.zeros(2)), (torch.tensor([[1.0, -1], [0, 1]]), torch.zeros(2))]
    )
    domain = Domain.of(Ball("linf", 1, low=None, high=None), torch.tensor([[0.5, 0.0]]))
    box = all_boxes(graph, domain, arithmetic)[graph.output]
    assert box.high[0, 0].item() == pytest.approx(2.75, abs=1e-5)
    assert box.low[0, 0].item() == pytest.approx(-2.75, abs=1e-5)
    assert arithmetic is PLAIN or bool((box.high[0, 0] >= 2.75) & (box.low[0, 0] <= -2.75))


@settings(max_examples=12)
@given(st.integers(0, 1000), st.sampled_from(["linf", "l2", "l1"]), st.sampled_from(["1/100", "1/5"]))
def test_they_hold_at_samples_in_every_norm(seed, norm, radius):
    graph, ball = random_relu_net(seed, inputs=3, hidden=(8, 6), classes=3), Ball(norm, radius)
    x = torch.rand(2, 3, generator=torch.Generator().manual_seed(seed))
    inside = graph.values(sampled(ball, x, 300))
    for name, box in all_boxes(graph, Domain.of(ball, x), FLOAT32).items():
        low, high = (end.repeat(300, *(1,) * (end.ndim - 1)) for end in box)
        assert bool(((inside[name].double() >= low) & (inside[name].double() <= high)).all()), name


def test_rounding_is_covered_and_costs_little():
    graph, x = capture(wide(), (4,)), torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    domain = Domain.of(Ball("linf", "1/20"), x)
    plain, real, deployed = (all_boxes(graph, domain, claim)[graph.output] for claim in (PLAIN, REAL, FLOAT32))
    assert bool(((plain.low - real.low) > 0).all() & ((plain.low - real.low) < 1e-9).all())
    assert bool(((real.low - deployed.low) > 0).all() & ((real.low - deployed.low) < 1e-3).all())


def test_they_lie_between_intervals_and_backward_sweeps_at_a_fraction_of_the_cost():
    graph, x = capture(wide(), (4,)), torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
    problem = Problem.of(graph, Domain.of(Ball("linf", "1/20"), x), graph(x).argmax(1))
    least = {name: METHODS[name](problem).rows.mean() for name in ("crown-ibp", "forward", "crown")}
    assert least["crown-ibp"] < least["forward"] <= least["crown"] + 1e-9
    assert bool((10 * METHODS["forward"].cost(problem) < METHODS["crown"].cost(problem)).all())


def test_a_node_with_fewer_unstable_neurons_than_inputs_is_swept_backwards():
    graph, x = random_relu_net(3, inputs=6, hidden=(4, 4)), torch.rand(2, 6)
    domain = Domain.of(Ball("linf", "1/5"), x)
    swept = propagate(graph, domain, REAL, refine=forward_refiner())
    crown = METHODS["crown"](Problem.of(graph, domain, torch.zeros(2, dtype=torch.int64), arithmetic=REAL))
    assert torch.equal(crown.boxes[graph.output].low, swept.boxes[graph.output].low)


def test_examples_in_parts_give_the_same():
    graph, x = capture(wide(), (4,)), torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    domain, predicted = Domain.of(Ball("l2", "1/10"), x), graph(x).argmax(1)
    whole, parts = (METHODS["forward"](Problem.of(graph, domain, predicted, max_memory=m)) for m in (None, 1))
    assert torch.allclose(whole.rows, parts.rows, rtol=0, atol=1e-10)
    assert {name: len(box.low) for name, box in whole.boxes.items()} == {
        name: len(box.low) for name, box in parts.boxes.items()
    }


def test_the_cascade_has_them_for_few_inputs_only(tmp_path):
    narrow, x = wide(), torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
    assert "forward" in methods_of("auto", capture(narrow, (4,)), "linf")
    assert "forward" not in methods_of(
        "auto", capture(nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 2)), (8,)), "linf"
    )
    found = certify(
        Classifier(narrow), x, narrow(x).argmax(1), Ball("linf", "1/200"), folder=tmp_path, method="forward"
    )
    assert found.files
    assert all(replay(path).stable for path in found.files.values())
