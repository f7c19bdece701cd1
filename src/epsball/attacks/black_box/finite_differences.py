"""Gradients estimated from scores: differences along random directions, both ways."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks.engine.query import Query
from epsball.attacks.losses import Loss
from epsball.randomness import Keys

Directions = Callable[[Keys, tuple[int, ...], torch.dtype], Tensor]
"""Draws (n, *shape) from one key per example."""

_PAIRS = 8
"""Pairs per call: a fixed number, so that the number of active examples changes no sum."""


def rademacher(keys: Keys, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return independent signs."""
    return keys.uniform(shape, dtype).sub_(0.5).sign_()


def gaussian(keys: Keys, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return independent standard normal numbers."""
    return keys.normal(shape, dtype)


def estimate(
    query: Query,
    loss: Loss,
    points: Float[Tensor, "n *shape"],
    keys: Keys,
    *,
    directions: Directions,
    scale: float,
    pairs: int,
) -> tuple[Float[Tensor, "n *shape"], Int64[Tensor, " m"]]:
    """Return g = 1/(2 s m) sum_i (l(x + s u_i) - l(x - s u_i)) u_i, and the rows still active.

    The other rows of g mean nothing.

    Parameters
    ----------
    query
        Evaluates 2 m points per example.
    loss
        Maps (logits, y) to (n,).
    points
        One per active example.
    keys
        Keys of the call, indexed by position.
    directions
        Draws u.
    scale
        s, in pixels.
    pairs
        m.
    """
    total, kept = torch.zeros_like(points), torch.arange(len(points), device=points.device)
    for first in range(0, pairs, _PAIRS):
        count = min(_PAIRS, pairs - first)
        u = directions(keys[query.index].derive(first), (count, *points.shape[1:]), points.dtype)
        both = torch.cat([points[:, None] + scale * u, points[:, None] - scale * u], dim=1)
        rows = torch.arange(len(points), device=points.device).repeat_interleave(both.shape[1])
        y = query.y[rows]
        value = loss(query.logits(both.flatten(0, 1), rows), y).view(len(points), 2, count)
        # A point outside the ball may have no finite logits; it says nothing.
        slope = torch.nan_to_num(value[:, 0] - value[:, 1], nan=0.0, posinf=0.0, neginf=0.0)
        total[kept] += torch.einsum("nm,nm...->n...", slope, u)
        if query.going_on is not None:
            points, kept = points[query.going_on], kept[query.going_on]
    return total / (2 * scale * pairs), kept
