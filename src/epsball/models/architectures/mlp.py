"""A fully connected ReLU network."""

import math
from itertools import pairwise

from torch import nn

from epsball.errors import InputError


def mlp(shape: tuple[int, ...], classes: int, hidden: tuple[int, ...] = (100, 100)) -> nn.Sequential:
    """Return flatten, then linear layers with ReLU between them.

    The entries of its state dict are ``1.weight``, ``3.weight``, ...: the layout of the fully
    connected networks of the certified literature.

    Parameters
    ----------
    shape
        Shape of one input, of any rank.
    classes
        Number of logits.
    hidden
        Units of each hidden layer, in text ``hidden=100:100``.

    Raises
    ------
    InputError
        If a layer has no units.
    """
    widths = (math.prod(shape), *hidden, classes)
    if min(widths) < 1:
        raise InputError(f"mlp has layers of {widths} units; each needs at least one.")
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
