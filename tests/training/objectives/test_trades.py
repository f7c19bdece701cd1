"""TRADES and MART against straight-line readings of their papers."""

import math

import pytest
import torch

from epsball import Ball, InputError
from epsball.training import MART, TRADES
from epsball.training.objectives.mart import boosted_cross_entropy
from helpers import mlp
from training.contexts import context

EPS, STEPS, BETA = 0.1, 5, 6.0


def batch(n: int = 8):
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(n, 16, dtype=torch.float64, generator=generator)
    return x, torch.randint(4, (n,), generator=generator)


def softmax(z):
    e = torch.exp(z - z.max(1, keepdim=True).values)
    return e / e.sum(1, keepdim=True)


def divergence(p, q):
    return (p * (torch.log(p) - torch.log(q))).sum(1)


def straight_trades(module, x, y, start):
    target = softmax(module(x)).detach()
    x_adv = x + start
    for _ in range(STEPS):
        x_adv = x_adv.detach().requires_grad_()
        divergence(target, softmax(module(x_adv))).sum().backward()
        x_adv = x_adv.detach() + 2.5 * EPS / STEPS * x_adv.grad.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
    module.zero_grad()
    p, q = softmax(module(x)), softmax(module(x_adv))
    return -torch.log(p.gather(1, y[:, None])[:, 0]) + BETA * divergence(p, q)


def straight_mart(module, x, y, start):
    """Return the losses of eqs. (9) to (11) of the paper, x' by PGD on the cross-entropy."""
    x_adv = x + start
    for _ in range(STEPS):
        x_adv = x_adv.detach().requires_grad_()
        (-torch.log(softmax(module(x_adv)).gather(1, y[:, None]))).sum().backward()
        x_adv = x_adv.detach() + 2.5 * EPS / STEPS * x_adv.grad.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
    module.zero_grad()
    p, q = softmax(module(x)), softmax(module(x_adv))
    own = torch.nn.functional.one_hot(y, 4).bool()
    boosted = -torch.log(q[own]) - torch.log(1 - q.masked_fill(own, 0).max(1).values)
    return boosted + BETA * divergence(p, q) * (1 - p[own])


@pytest.mark.parametrize("kind", ["trades", "mart"])
def test_values_and_gradients_are_those_of_the_published_formula(kind):
    make, straight = {"trades": (TRADES, straight_trades), "mart": (MART, straight_mart)}[kind]
    module, (x, y) = mlp().double(), batch()
    setting = context(len(x))
    start = 0.001 * setting.keys.derive("search").normal(x.shape[1:], x.dtype)
    expected = straight(module, x, y, (x + start).clamp(0, 1) - x)
    gradients = torch.autograd.grad(expected.sum(), list(module.parameters()))
    losses = make(ball=Ball("linf", EPS), beta=BETA, steps=STEPS)(module, x, y, setting)
    found = torch.autograd.grad(losses.examples.sum(), list(module.parameters()))
    torch.testing.assert_close(losses.examples, expected, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(found, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


def test_the_target_counts_as_a_function_of_the_weights():
    module, (x, y) = mlp().double(), batch()
    objective = TRADES(ball=Ball("linf", EPS), beta=BETA, steps=STEPS)
    x_adv = objective.search(module, x, y, context(len(x)))
    p, q = softmax(module(x)), softmax(module(x_adv))
    frozen = -torch.log(p.gather(1, y[:, None])[:, 0]) + BETA * divergence(p.detach(), q)
    losses = objective.losses(module, x, x_adv, y, context(len(x)))
    weight = module[1].weight
    (both,) = torch.autograd.grad(losses.examples.sum(), weight)
    (one,) = torch.autograd.grad(frozen.sum(), weight)
    assert not torch.allclose(both, one)


def test_batch_norm_takes_one_update_a_step_of_clean_and_adversarial_inputs_together():
    norm = torch.nn.BatchNorm1d(16)
    module = torch.nn.Sequential(norm, mlp())
    x, y = torch.rand(20, 16), torch.randint(4, (20,))
    objective = TRADES(ball=Ball("linf", EPS), steps=2)
    x_adv = objective.search(module, x, y, context(20))
    assert norm.num_batches_tracked == 0
    objective.losses(module, x, x_adv, y, context(20))
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * torch.cat([x, x_adv]).mean(0))


@pytest.mark.parametrize("gap", [-200.0, 200.0])
def test_the_boosted_cross_entropy_stays_finite_where_a_probability_rounds_to_one(gap):
    logits = torch.tensor([[gap, 0.0, -1.0]]).requires_grad_()
    loss = boosted_cross_entropy(logits, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()
    # Far right: -log(1 - p_1) of a vanishing p_1; far left: -log p_0 = 200 and -log(1 - p_1), p_1 = 1 / (1 + e^-1).
    torch.testing.assert_close(loss, torch.tensor([0.0 if gap > 0 else -gap + 2 * math.log1p(math.exp(-1)) + 1]))


def test_a_start_at_the_example_is_refused_since_the_gradient_there_is_zero():
    module, (x, _) = mlp().double(), batch()
    point = x.clone().requires_grad_()
    target = softmax(module(x)).detach()
    (gradient,) = torch.autograd.grad(divergence(target, softmax(module(point))).sum(), point)
    assert gradient.abs().max() < 1e-12
    with pytest.raises(InputError, match="gradient zero"):
        TRADES(ball=Ball("linf", EPS), start="none")


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_bad_weights_are_explained(beta):
    with pytest.raises(InputError, match="beta is"):
        TRADES(ball=Ball("linf", EPS), beta=beta)
