"""The one-step examples of KGB17 and the cascade."""

import math

import pytest
import torch
from torch.nn import functional

from epsball import Ball
from epsball.training import KGB17, PGD, Cascade
from epsball.training.objectives.least_likely_step import _half_normal, towards_least_likely
from helpers import mlp
from training.contexts import context


def batch(n: int = 8):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(n, 16, dtype=torch.float64, generator=generator), torch.randint(4, (n,), generator=generator)


def test_a_step_is_cut_by_the_box_after_it_has_its_length():
    """The formula: clip(x - e sign(grad CE(x, least likely))), with e drawn for each example."""
    module, (x, _), setting = mlp().double(), batch(), context(8)
    x[:, ::2] = x[:, ::2].round()  # half of the pixels at an end of the box
    point = x.clone().requires_grad_()
    logits = module(point)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, logits.argmin(1), reduction="sum"), point)
    length = 0.1 * _half_normal(setting.keys.derive("radius"))
    expected = (x - length[:, None].double() * gradient.sign()).clamp(0, 1)
    found = towards_least_likely(module, x, Ball("linf", 0.1), setting)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_lengths_are_half_normal_cut_off_at_the_radius():
    draws = _half_normal(context(4000).keys)
    assert 0 <= draws.min() < 0.01
    assert 0.95 < draws.max() <= 1.0
    # P(|g| <= 1/2 | |g| <= 1) for g ~ N(0, 1/4): erf(1 / sqrt 2) / erf(sqrt 2).
    share = math.erf(math.sqrt(0.5)) / math.erf(math.sqrt(2.0))
    assert float((draws <= 0.5).double().mean()) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_points_lie_in_ball_and_box_and_are_nearer_the_least_likely_class(norm):
    module, (x, _) = mlp().double(), batch()
    ball = Ball(norm, {"linf": 0.1, "l2": 0.5, "l1": 1.5}[norm])
    least = module(x).argmin(1)
    x_adv = towards_least_likely(module, x, ball, context(8))
    assert ball.contains(x_adv, x).all()
    losses = [functional.cross_entropy(module(points), least) for points in (x_adv, x)]
    assert losses[0] < losses[1]


def test_a_cascade_takes_half_of_its_points_from_each_network_at_their_own_cost():
    source, module, (x, y), setting = mlp(seed=5).double(), mlp().double(), batch(), context(8)
    ball = Ball("linf", 0.1)
    cascade = Cascade(ball=ball, source=source, steps=3)
    x_adv = cascade.search(module, x, y, setting)
    own = setting.positions < 4
    torch.testing.assert_close(x_adv[:4], towards_least_likely(module, x[:4], ball, setting.part(own)))
    transferred = PGD(ball=ball, steps=3, start="none").search(source, x[4:], y[4:], setting.part(~own))
    torch.testing.assert_close(x_adv[4:], transferred)


def test_the_mean_of_a_cascade_is_the_published_loss():
    """Eq. (1) with the distance: clean and adversarial weighed 1 and lambda, lambda_2 times the sum over pairs."""
    module, (x, y), setting = mlp().double(), batch(), context(8)
    factor = 1e-4
    objective = Cascade(ball=Ball("linf", 0.1), source=mlp(seed=5).double(), weight=0.3, similarity=factor * 8)
    x_adv = objective.search(module, x, y, setting)
    e, e_adv = module(x), module(x_adv)
    clean, attacked = (functional.cross_entropy(z, y, reduction="sum") for z in (e, e_adv))
    expected = (clean + 0.3 * attacked) / (8 + 0.3 * 8) + factor * (e_adv - e).square().sum()
    gradients = torch.autograd.grad(expected, list(module.parameters()))
    found = objective(module, x, y, setting).examples.mean()
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(torch.autograd.grad(found, list(module.parameters())), gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_examples_of_a_share_of_the_batch_are_those_of_the_whole():
    module, (x, y), setting = mlp().double(), batch(), context(8)
    whole = KGB17(ball=Ball("linf", 0.1)).search(module, x, y, setting)
    odd = setting.positions % 2 == 1
    part = KGB17(ball=Ball("linf", 0.1)).search(module, x[odd], y[odd], setting.part(odd))
    torch.testing.assert_close(part, whole[odd])
