"""A small audit: an untrained network on random points, a tenth of them labelled wrongly."""

import torch

from epsball import Ball, Classifier
from helpers import Wrapped, examples, linear, mlp

BALL = Ball("linf", 0.1)
ATTACK = "pgd,steps=20"

BARE = {"attack": ATTACK, "certificates": "none", "limit": False}
"""Options of an audit whose certificates and limit do not matter."""


def case(n: int = 60):
    """Return a classifier, points and labels, of which every tenth is wrong."""
    x, _ = examples(n)
    y = mlp()(x).argmax(1)
    y[::10] = (y[::10] + 1) % 4
    return Classifier(mlp()), x, y


def spoilt(where):
    """Return a classifier whose logits are NaN at the points that `where` names."""
    return Classifier(Wrapped(lambda module, x: torch.where(where(x), torch.nan, module(x)), mlp()))


class Right(torch.nn.Module):
    """A network of two classes that is right about points of mean below and above 0.2."""

    def forward(self, x):
        score = 10 * (x.mean(1, keepdim=True) - 0.2)
        return torch.cat([-score, score], 1)


OPTIONS = {"certificates": "none", "limit": False}
"""Options of an audit whose attack is the subject."""

COUNT = 60
"""Examples of `linear_case`."""


NEAR, FAR = Ball("linf", "0.05"), Ball("linf", "0.3")
"""Balls in which some and all examples of `linear_case` can be broken."""


def linear_case():
    """Return a linear network of four classes, points, and the labels it gives them."""
    generator = torch.Generator().manual_seed(1)
    network = linear(0.5 * torch.randn(4, 16, generator=generator), torch.zeros(4))
    x = torch.rand(COUNT, 16, generator=generator)
    return network, x, network(x).argmax(1)


def detached():
    """Return the network behind what lets no gradient through, points and labels."""
    network, x, y = linear_case()
    return Classifier(Wrapped(lambda module, x: module(x.detach() + 0 * x), network)), x, y
