"""Bounds against the truth: tiny networks, and networks made to break bounds that forget rounding."""

import pytest
import torch

from certificates.networks import random_relu_net, relu_net
from certificates.soundness import CHECKED, check_graph, check_network
from certificates.traps import TRAPS, absorbed
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, PLAIN, REAL, Domain, Problem


@pytest.mark.parametrize("seed", range(16))
def test_no_bound_exceeds_the_truth_of_a_random_network(seed):
    assert check_network(seed) > 0


@pytest.mark.parametrize("name", TRAPS)
def test_no_bound_exceeds_the_truth_of_a_trap(name):
    for centre, radius in (([0.5, 0.5], "1/4"), ([0.7, 0.1], "1/1000"), ([0.0, 1.0], "1/4"), ([0.5, 0.5], "1/1000")):
        check_graph(TRAPS[name], torch.tensor([centre]), Ball("linf", radius))


def test_the_trap_is_one():
    """Without error terms the bound of the first trap exceeds what float32 computes; with them it does not."""
    graph, x, ball = absorbed(2.0**25), torch.tensor([[0.5, 0.5]]), Ball("linf", "1/4")
    logits = graph(torch.tensor([[0.25, 0.5]])).double()
    computed = (logits[0, 0] - logits[0, 1]).item()
    plain, deployed = (
        METHODS["crown"](Problem.of(graph, Domain.of(ball, x), torch.tensor([0]), arithmetic=claim)).rows.item()
        for claim in (PLAIN, FLOAT32)
    )
    assert plain > computed >= deployed


def test_overflow_is_no_bound():
    graph = relu_net(
        [
            (torch.full((2, 2), 1e30), torch.zeros(2)),
            (torch.tensor([[1e30, 1e30], [0.0, 0.0]]), torch.zeros(2)),
        ]
    )
    x = torch.tensor([[0.5, 0.5]])
    for method in CHECKED.values():
        problem = Problem.of(graph, Domain.of(Ball("linf", 0.1), x), torch.tensor([0]), arithmetic=FLOAT32)
        assert method(problem).rows.item() == -torch.inf


def test_claims_are_ordered():
    """What is claimed of the deployed network is never more than what is claimed of the real one."""
    for seed in range(3):
        graph, domain = random_relu_net(seed), Domain.of(Ball("linf", 0.1), torch.rand(3, 2))
        predicted = torch.zeros(3, dtype=torch.int64)
        real, deployed = (Problem.of(graph, domain, predicted, arithmetic=claim) for claim in (REAL, FLOAT32))
        for name, method in CHECKED.items():
            # A solver's multipliers, found for each claim anew, are as good only up to its gap.
            if name in ("lp", "lp-tight", "sdp"):
                continue
            assert bool((method(deployed).rows <= method(real).rows + 1e-9).all())
