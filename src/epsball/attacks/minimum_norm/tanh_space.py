"""The change of variables by which Carlini and Wagner's attacks stay in the box."""

import torch
from torch import Tensor

from epsball.ball import Neighbourhood

_INNER = 0.999999
"""Points are drawn in this little from the ends of the box, where w is infinite."""


def to_free(x: Tensor, around: Neighbourhood) -> Tensor:
    """Return the w of points x: atanh((2 x - low - high) / (high - low)); x itself without a box."""
    if around.high == torch.inf:
        return x
    return torch.atanh((2 * (x - around.low) / (around.high - around.low) - 1) * _INNER)


def to_box(w: Tensor, around: Neighbourhood) -> tuple[Tensor, Tensor]:
    """Return the points (low + high) / 2 + (high - low) / 2 tanh(w), and their derivatives in w."""
    if around.high == torch.inf:
        return w, torch.ones_like(w)
    t, half = torch.tanh(w), (around.high - around.low) / 2
    return around.clip(around.low + half * (1 + t)), half * (1 - t.square())
