"""Where first-order steps have nothing to go by: the three cases, and a saddle that hides its one way up."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball import Ball, Classifier, attack
from epsball.attacks import PGD, SecondOrder
from epsball.attacks.gradient.second_order import solve_trust_region
from helpers import Wrapped, examples, linear

D = 16
X = 0.5 + 0.1 * torch.randn(8, D, generator=torch.Generator().manual_seed(3)).clamp(-2, 2)
Y = torch.zeros(8, dtype=torch.int64)
DIRECTION = torch.nn.functional.normalize(torch.randn(D, generator=torch.Generator().manual_seed(4)), dim=0)


def two_classes(gain) -> Classifier:
    """Return a classifier of logits (0, gain(x - nearest example)): the examples are right where gain < 0."""

    def logits(module, z):
        nearest = torch.cdist(z.detach(), X.to(z)).argmin(1)
        value = gain(z - X.to(z)[nearest])
        return torch.stack([torch.zeros_like(value), value], dim=1)

    return Classifier(Wrapped(logits))


def quadratic(v):
    return 0.5 * (v**2).sum(1) - 0.01


def saddle(v):
    """Curvature 1 along one direction, -100 along all others."""
    along = v @ DIRECTION
    return 0.5 * (along**2 - 100 * ((v**2).sum(1) - along**2)) - 0.001


def plateau(v):
    """Units that are all dead at the example and wake a quarter of the way to the edge."""
    units = torch.randn(32, D, generator=torch.Generator().manual_seed(5))
    return torch.relu(v @ units.T - 0.08 * units.norm(dim=1)).sum(1) - 0.05


def saturated(v):
    """Rise within the ball, with a slope that is 0 in float32 at the example."""
    return 10 * torch.tanh(40 * (v @ DIRECTION) - 12)


def broken(classifier, ball, method):
    return int(attack(classifier, X, Y, ball, method=method, seed=1).broken.sum())


@pytest.mark.parametrize("gain", [quadratic, plateau])
@pytest.mark.parametrize("ball", [Ball("linf", 0.2), Ball("l2", 0.3), Ball("l1", 0.6)], ids=str)
def test_it_breaks_what_has_no_gradient_at_the_example(gain, ball):
    classifier = two_classes(gain)
    assert broken(classifier, ball, PGD(steps=100, start="none", loss="margin")) == 0
    assert broken(classifier, ball, SecondOrder()) == len(X)


@pytest.mark.parametrize("ball", [Ball("linf", 0.2), Ball("l2", 0.4)], ids=str)
def test_it_breaks_saturated_logits(ball):
    classifier = two_classes(saturated)
    assert broken(classifier, ball, PGD(steps=100, start="none", loss="margin")) == 0
    assert broken(classifier, ball, SecondOrder()) == len(X)


def test_it_breaks_a_saturated_softmax_where_cross_entropy_has_no_gradient():
    generator = torch.Generator().manual_seed(6)
    module = linear(1e4 * torch.randn(3, D, generator=generator), torch.zeros(3))
    x, _ = examples(20)
    y = Classifier(module).logits(x).argmax(1)
    ball = Ball("linf", 0.4)
    first_order = attack(Classifier(module), x, y, ball, method=PGD(steps=100))
    assert first_order.ledger.zero_gradients.sum() > 0.5 * first_order.ledger.backwards.sum()
    assert attack(Classifier(module), x, y, ball, method=SecondOrder()).accuracy < first_order.accuracy - 0.3


@pytest.mark.parametrize("ball", [Ball("linf", 0.15), Ball("l1", 0.6)], ids=str)
def test_it_finds_the_one_way_up_of_a_saddle_where_random_starts_do_not(ball):
    classifier = two_classes(saddle)
    random = broken(classifier, ball, PGD(steps=20, restarts=2, loss="margin"))
    assert broken(classifier, ball, SecondOrder()) == len(X)
    assert random <= len(X) // 2


@given(seed=st.integers(0, 10**6), hard=st.booleans())
def test_the_trust_region_solution_is_a_maximiser(seed, hard):
    generator = torch.Generator().manual_seed(seed)
    T = torch.randn(1, 4, 4, generator=generator, dtype=torch.float64)
    T = T + T.mT
    c = torch.zeros(1, 4, dtype=torch.float64) if hard else torch.randn(1, 4, generator=generator, dtype=torch.float64)
    reach = torch.rand(1, generator=generator, dtype=torch.float64) + 0.1
    s = solve_trust_region(T, c, reach, torch.ones(1, dtype=torch.float64))
    others = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    others = reach * others / others.norm(dim=1, keepdim=True) * torch.rand(500, 1, generator=generator).double()

    def model(v):
        return (v @ c[0]) + 0.5 * torch.einsum("ni,ij,nj->n", v, T[0], v)

    assert float(s.norm()) <= float(reach) * (1 + 1e-6)
    assert float(model(s)) >= float(model(others).max()) - 1e-6


@pytest.mark.parametrize("ball", [Ball("linf", 76.5, 0, 255), Ball("l2", 76.5, 0, 255), Ball("l1", 12)], ids=str)
def test_directions_that_vanish_are_no_trouble_at_any_radius(ball):
    """A linear model has no curvature: no direction is new."""
    module = linear(torch.randn(2, D, generator=torch.Generator().manual_seed(1)), torch.zeros(2))
    x = X * float(ball.high)
    y = module(x).argmax(1)
    found, expected = (
        attack(Classifier(module, high=ball.high), x, y, ball, method=method).broken
        for method in (SecondOrder(steps=2), PGD(loss="margin"))
    )
    assert found.any()
    assert torch.equal(found, expected)
