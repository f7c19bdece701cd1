"""A small audit: an untrained network on random points, a tenth of them labelled wrongly."""

import torch

from epsball import Ball, Classifier
from helpers import Wrapped, examples, mlp

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
