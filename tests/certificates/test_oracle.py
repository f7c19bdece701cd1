"""Bounds against the truth: tiny networks, and networks made to break bounds that forget rounding."""

import pytest
import torch
from certificate_networks import random_relu_net, relu_net
from certificate_soundness import check_graph, check_network

from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, PLAIN, REAL, Domain, margins


@pytest.mark.parametrize("seed", range(24))
def test_no_bound_exceeds_the_truth_of_a_random_network(seed):
    assert check_network(seed) > 0


def _absorbed(scale: float):
    """Return z_0 - z_1 = relu(x_0 + scale) - scale + 0.5: float32 absorbs x_0 where scale is 2^25."""
    first = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([scale, scale])
    last = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([0.0, -0.5])
    return relu_net([first, last])


def _big_m(m: float):
    """Return a gadget whose relu(x - 1/2 + M) - M is x - 1/2 in real numbers, behind a step of slope M."""
    first = torch.tensor([[1.0, 0.0], [m, 0.0]]), torch.tensor([m - 0.5, -m / 2])
    last = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([-m, -0.25])
    return relu_net([first, last])


def _summation(m: float):
    """Return a sum m + small - m + small, whose value depends on the order of summation."""
    first = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), torch.tensor([m, 0.0, m, 0.0])
    last = torch.tensor([[1.0, 1.0, -1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([0.0, 0.75])
    return relu_net([first, last])


def _zombori(omega: float, sigma: float):
    """Return a network with a hidden switch: x - sigma (1 + omega - omega), after Zombori et al. 2021."""
    first = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([0.0, 1.0])
    second = torch.tensor([[0.0, omega], [1.0, 0.0]]), torch.tensor([sigma, 0.0])
    third = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([-omega, 0.0])
    last = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([0.0, 0.4])
    return relu_net([first, second, third, last])


def _tiny(scale: float):
    """Return a network whose first products underflow in float32 and are scaled up again."""
    first = torch.tensor([[scale, 0.0], [0.0, scale]]), torch.tensor([0.0, 0.0])
    last = torch.tensor([[2.0**100, -(2.0**100)], [0.0, 0.0]]), torch.tensor([2.0**-40, 0.0])
    return relu_net([first, last])


TRAPS = {
    "absorbed_25": _absorbed(2.0**25),
    "absorbed_30": _absorbed(2.0**30),
    "absorbed_60": _absorbed(2.0**60),
    "big_m_24": _big_m(2.0**24),
    "big_m_40": _big_m(2.0**40),
    "summation_26": _summation(2.0**26),
    "summation_55": _summation(2.0**55),
    "zombori_27": _zombori(2.0**27, -0.3),
    "zombori_54": _zombori(2.0**54, -0.3),
    "underflow_140": _tiny(2.0**-140),
    "underflow_126": _tiny(2.0**-126),
}


@pytest.mark.parametrize("name", TRAPS)
def test_no_bound_exceeds_the_truth_of_a_trap(name):
    for centre in ([0.5, 0.5], [0.7, 0.1], [0.0, 1.0]):
        for radius in ("1/4", "1/1000"):
            check_graph(TRAPS[name], torch.tensor([centre]), Ball("linf", radius))


def test_the_trap_is_one():
    """Without error terms the bound of the first trap exceeds what float32 computes; with them it does not."""
    graph, x, ball = _absorbed(2.0**25), torch.tensor([[0.5, 0.5]]), Ball("linf", "1/4")
    with pytest.raises(AssertionError, match="float32 computes"):
        for method in METHODS.values():
            rows = method(graph, Domain.of(ball, x), margins(torch.tensor([0]), 2), arithmetic=PLAIN).rows
            logits = graph(torch.tensor([[0.25, 0.5]])).double()
            if rows.item() > (logits[0, 0] - logits[0, 1]).item():
                raise AssertionError("float32 computes less")


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
