"""Defences that leave predictions alone and spoil gradients."""

import pytest
import torch
from torch import nn

from epsball import InputError
from epsball.masking.zoo.generic.dead_relu import DeadReLU
from epsball.masking.zoo.generic.k_winners_take_all import defended
from epsball.masking.zoo.generic.wrong_gradient import WrongGradient
from epsball.models.k_winners import KWinnersTakeAll


@pytest.mark.parametrize("kind", ["permuted", "signs"])
def test_values_stay_and_the_gradient_is_another_of_the_same_entries(kind):
    x = torch.rand(3, 2, 4, 4).requires_grad_()
    weight = torch.rand(2, 4, 4) + 1.0
    module = WrongGradient(kind)
    assert torch.equal(module(x), x)
    (module(x) * weight).sum().backward()
    assert not torch.equal(x.grad[0], weight)
    assert torch.equal(x.grad[0].abs().flatten().sort().values, weight.flatten().sort().values)
    assert torch.equal(x.grad[0], x.grad[2])


def test_dead_relus_keep_the_prediction_and_cut_the_gradient():
    torch.manual_seed(0)
    z = (3 * torch.randn(50, 5)).requires_grad_()
    out = DeadReLU(gap=0.25)(z)
    assert torch.equal(out.argmax(1), z.argmax(1))
    (gradient,) = torch.autograd.grad(out[:, 0].sum() - out[:, 1].sum(), z)
    top = z.topk(2, dim=1).values
    apart = top[:, 0] - top[:, 1] > 0.25
    assert bool(apart.any())
    assert not bool(gradient[apart].any())


def test_k_winners_are_the_k_largest():
    x = torch.randn(6, 3, 4, 5)
    out = KWinnersTakeAll(share=0.2)(x)
    assert bool(((out != 0).flatten(1).sum(1) == 12).all())
    least = out.flatten(1).masked_fill(out.flatten(1) == 0, torch.inf).amin(1)
    assert bool((x.flatten(1).sort(dim=1, descending=True).values[:, 12] < least).all())
    assert torch.equal(out[out != 0], x[out != 0])


def test_a_network_without_winners_is_refused():
    with pytest.raises(InputError, match="no k-winners-take-all layer"):
        defended(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(InputError, match="share of winners"):
        KWinnersTakeAll(0.0)
