"""Classes masked by logits of -infinity: objectives have the losses and gradients of the network without them."""

import pytest
import torch
from torch import Tensor, nn

from epsball import Ball, train
from epsball.training import Recipe
from helpers import convnet
from training.contexts import context
from training.small_objectives import NAMES, small_objective

BALL = Ball("linf", 0.1)


class Masked(nn.Module):
    """A network of twelve classes, two of them masked by adding -infinity, or without their columns."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.net, self.cut = convnet(classes=12), cut
        self.net[4] = nn.Identity()
        self.register_buffer("mask", torch.zeros(12).index_fill_(0, torch.tensor([10, 11]), -torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        z = self.net(x)
        return z[:, :10] if self.cut else z + self.mask


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_equal_those_without_the_masked_columns(name, smoothing):
    # In float64: a gradient that is exactly 0 is a sum of large terms of both signs.
    x, y = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double(), torch.arange(12) % 10
    objective, seen = small_objective(name, BALL), []
    if hasattr(objective, "source"):
        objective.source.double()
    for cut in (False, True):
        module = Masked(cut=cut).double()
        losses = objective(module, x, y, context(12, smoothing=smoothing)).examples
        losses.sum().backward()
        seen.append([losses.detach(), *(p.grad for p in module.parameters())])
    for masked, expected in zip(*seen, strict=True):
        torch.testing.assert_close(masked, expected, rtol=1e-8, atol=1e-9)


def test_a_network_with_a_masked_class_trains_to_the_end():
    x, y = torch.rand(40, 1, 8, 8), torch.arange(40) % 10
    recipe = Recipe(epochs=1, batch_size=12)
    result = train(Masked(cut=False), (x, y), objective="trades,steps=2", ball=BALL, recipe=recipe)
    assert torch.tensor(result.history[-1].loss).isfinite()
