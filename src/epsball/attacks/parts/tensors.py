"""What attacks with state of their own share: losses about the labels, and gathering what still stands."""

import math

import torch
from torch import Tensor

from epsball.attacks.engine.query import Query, QueryLoss
from epsball.attacks.losses import Loss
from epsball.ball import Ball, Neighbourhood


def of_labels(query: Query, loss: Loss) -> QueryLoss:
    """Return a loss (logits, labels) as one of the standing examples' labels."""
    return lambda logits, points, rows: loss(logits, query.y if rows is None else query.y[rows])


def kept(going_on: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the rows of some tensors that go on after a call of the query."""
    return tensors if going_on is None else tuple(tensor[going_on] for tensor in tensors)


def like(values: Tensor, points: Tensor) -> Tensor:
    """Return one value a row (n,) shaped and typed to multiply points (n, *shape)."""
    return values.to(points.dtype).view(-1, *[1] * (points.ndim - 1))


def width(around: Neighbourhood) -> float:
    """Return how wide the box is, 1 without one: the unit in which attacks state lengths."""
    return 1.0 if around.high == math.inf else around.high - around.low


def unit(gradient: Tensor) -> Tensor:
    """Return gradients over their l2 lengths; zero rows stay zero."""
    length = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return gradient / like(length.masked_fill(length == 0, 1.0), gradient)


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """Return the value at `step` of a cosine from `start` at step 0 to `end` at step `steps`."""
    return end + (start - end) * (1 + math.cos(math.pi * step / max(1, steps))) / 2


def farthest(query: Query, ball: Ball) -> Tensor:
    """Return how far from each standing example the box reaches in the ball's norm; infinite without a box."""
    x, low, high = query.x, query.neighbourhood.low, query.neighbourhood.high
    return ball.distance(torch.where(x - low > high - x, low, high).to(x), x)
