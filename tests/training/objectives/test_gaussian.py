"""Training under Gaussian noise: the published formula, and what it is for."""

import pytest
import torch
from torch.nn import functional

from epsball import InputError
from epsball.training import Gaussian
from helpers import mlp
from training.contexts import context

N, M, SIGMA = 6, 3, 0.2


def written_out(module, x, y, noise, consistency, entropy):
    """Return eqs. (6) and (7) of the paper, example by example and copy by copy."""
    losses = []
    for example, label, deltas in zip(x, y, noise, strict=True):
        answers = [module((example + SIGMA * delta)[None]) for delta in deltas]
        shares = torch.stack([answer.softmax(1)[0] for answer in answers])
        mean = shares.mean(0)
        fit = sum(functional.cross_entropy(answer, label[None]) for answer in answers) / M
        apart = sum(functional.kl_div(share.log(), mean, reduction="sum") for share in shares) / M
        losses.append(fit + consistency * apart + entropy * torch.distributions.Categorical(mean).entropy())
    return torch.stack(losses)


def test_losses_and_gradients_are_those_of_the_formula_in_float64():
    module = mlp(inputs=16).double()
    x, y, given = torch.rand(N, 1, 4, 4).double(), torch.arange(N) % 4, context(N)
    noise = given.keys.derive("noise").normal((M, 1, 4, 4))
    objective = Gaussian(sigma=SIGMA, copies=M, consistency=5.0, entropy=0.5)
    parameters = list(module.parameters())
    ours, theirs = objective(module, x, y, given).examples, written_out(module, x, y, noise, 5.0, 0.5)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(loss.sum(), parameters) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_one_copy_without_terms_is_the_augmentation_of_cohen():
    module, x, y, given = mlp(inputs=16), torch.rand(N, 1, 4, 4), torch.arange(N) % 4, context(N)
    noisy = x + SIGMA * given.keys.derive("noise").normal((1, 1, 4, 4), x.dtype)[:, 0]
    expected = functional.cross_entropy(module(noisy), y, reduction="none")
    torch.testing.assert_close(Gaussian(sigma=SIGMA, copies=1)(module, x, y, given).examples, expected)


def test_saturated_and_masked_classes_give_finite_losses_and_gradients():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))
    with torch.no_grad():
        module[1].weight.mul_(1e4)
        module[1].bias[3] = -torch.inf
    objective = Gaussian(sigma=SIGMA, consistency=5.0, entropy=0.5)
    losses = objective(module, torch.rand(N, 1, 4, 4), torch.arange(N) % 3, context(N))
    losses.examples.sum().backward()
    assert losses.examples.isfinite().all()
    assert module[1].weight.grad.isfinite().all()


def test_consistency_of_one_copy_is_refused():
    with pytest.raises(InputError, match="one copy always agrees with itself"):
        Gaussian(copies=1, consistency=1.0)
