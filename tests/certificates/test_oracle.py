"""Bounds against the truth: tiny networks, and networks made to break bounds that forget rounding."""

import pytest
import torch

from certificates.networks import random_relu_net, relu_net
from certificates.soundness import check_graph, check_network
from certificates.traps import TRAPS, absorbed
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, PLAIN, REAL, Domain, margins


@pytest.mark.parametrize("seed", range(24))
def test_no_bound_exceeds_the_truth_of_a_random_network(seed):
    assert check_network(seed) > 0


@pytest.mark.parametrize("name", TRAPS)
def test_no_bound_exceeds_the_truth_of_a_trap(name):
    for centre in ([0.5, 0.5], [0.7, 0.1], [0.0, 1.0]):
        for radius in ("1/4", "1/1000"):
            check_graph(TRAPS[name], torch.tensor([centre]), Ball("linf", radius))


def test_the_trap_is_one():
    """Without error terms the bound of the first trap exceeds what float32 computes; with them it does not."""
    graph, x, ball = absorbed(2.0**25), torch.tensor([[0.5, 0.5]]), Ball("linf", "1/4")
    logits = graph(torch.tensor([[0.25, 0.5]])).double()
    computed = (logits[0, 0] - logits[0, 1]).item()
    specification = margins(torch.tensor([0]), 2)
    assert METHODS["crown"](graph, Domain.of(ball, x), specification, arithmetic=PLAIN).rows.item() > computed
    assert METHODS["crown"](graph, Domain.of(ball, x), specification, arithmetic=FLOAT32).rows.item() <= computed


def test_overflow_is_no_bound():
    graph = relu_net(
        [
            (torch.full((2, 2), 1e30), torch.zeros(2)),
            (torch.tensor([[1e30, 1e30], [0.0, 0.0]]), torch.zeros(2)),
        ]
    )
    x = torch.tensor([[0.5, 0.5]])
    for method in METHODS.values():
        rows = method(graph, Domain.of(Ball("linf", 0.1), x), margins(torch.tensor([0]), 2), arithmetic=FLOAT32).rows
        assert rows.item() == -torch.inf


def test_claims_are_ordered():
    """What is claimed of the deployed network is never more than what is claimed of the real one."""
    for seed in range(5):
        graph, x = random_relu_net(seed), torch.rand(3, 2)
        domain, rows = Domain.of(Ball("linf", 0.1), x), margins(torch.zeros(3, dtype=torch.int64), 2)
        for method in METHODS.values():
            real = method(graph, domain, rows, arithmetic=REAL).rows
            assert bool((method(graph, domain, rows, arithmetic=FLOAT32).rows <= real + 1e-9).all())
