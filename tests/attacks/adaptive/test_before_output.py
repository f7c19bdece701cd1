"""Logits before a squashed end: found row by row, searched, and never taken for the model's own."""

import pytest
import torch
from torch import nn

from epsball import Ball, Classifier, attack
from epsball.attacks import Adaptive
from epsball.attacks.adaptive.before_output import BeforeOutput
from epsball.attacks.adaptive.surrogate_gradients import surrogate_gradients
from helpers import Wrapped, examples, mlp

BALL = Ball("linf", 0.2)

ENDS = {
    "dead": lambda z: torch.relu(z - z.amax(1, keepdim=True) + 0.01),
    "clamped": lambda z: (z - z.amax(1, keepdim=True)).clamp(-0.01, 0.0),
    "saturated": lambda z: torch.tanh(100 * (z - z.amax(1, keepdim=True))),
}


def ended(name: str) -> nn.Module:
    return Wrapped(lambda module, x: ENDS[name](module(x)), mlp().double())


@pytest.mark.parametrize("name", ENDS)
def test_the_logits_before_are_found_and_have_the_order_of_the_output(name):
    x = examples(20)[0].double().requires_grad_()
    module = ended(name)
    wrapper = BeforeOutput(module)
    before = wrapper(x)
    assert torch.equal(before, mlp().double()(x))
    assert torch.equal(wrapper.output, module(x))
    assert torch.equal(before.argmax(1), module(x).argmax(1))
    assert torch.autograd.grad(before[:, 0].sum(), x)[0].flatten(1).any(1).all()


def test_a_layer_as_wide_as_the_output_counts_only_where_it_has_its_order():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4))
    x = torch.randn(200, 6, requires_grad=True)
    before, output = BeforeOutput(layers)(x), layers(x)
    order = output.gather(1, before.argsort(dim=1, descending=True))
    assert (order[:, 1:] <= order[:, :-1]).all()
    assert (before == output).all(1).double().mean() > 0.8


def test_it_is_seen_through_surrogate_gradients():
    x = examples(8)[0].double()
    module = Wrapped(lambda inner, x: ENDS["dead"](inner((8 * x).round() / 8)), mlp().double())
    with surrogate_gradients(module) as mode:
        leaf = x.clone().requires_grad_()
        before = mode.attached(BeforeOutput(module)(leaf))
    assert torch.equal(before, mlp().double()((8 * x).round() / 8))
    assert torch.autograd.grad(before[:, 0].sum(), leaf)[0].flatten(1).any(1).all()
    assert set(mode.replaced) == {"round"}


@pytest.mark.parametrize("name", ENDS)
def test_a_squashed_end_hides_nothing(name):
    x = examples(16)[0].double()
    module, plain = ended(name), Classifier(mlp().double())
    y = module(x).argmax(1)
    small = Adaptive(queries=60, most=4)
    found = attack(Classifier(module), x, y, BALL, method=small)
    assert found.accuracy <= attack(plain, x, y, BALL, method=small).accuracy + 0.07
    assert torch.equal(Classifier(module).logits(found.x_adv).argmax(1) != y, found.broken)
    order = torch.arange(len(x)).flip(0)
    other = attack(Classifier(module), x[order], y[order], BALL, method=small, batch_size=5)
    assert torch.equal(other.x_adv, found.x_adv[order])
