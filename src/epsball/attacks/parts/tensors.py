"""Operations on tensors of one row per example that attacks share, and the size of their box."""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from epsball.ball import Ball, Neighbourhood


def take_rows(going_on: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the rows of some tensors that go on after a call of the query (None: all of them)."""
    return tensors if going_on is None else tuple(tensor[going_on] for tensor in tensors)


def column(values: Shaped[Tensor, " n"], points: Tensor) -> Tensor:
    """Return one value per row, shaped to combine with points (n, *shape); numbers in the points' dtype."""
    values = values if values.dtype == torch.bool else values.to(points.dtype)
    return values.view(-1, *[1] * (points.ndim - 1))


def unit(vectors: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
    """Return vectors over their l2 lengths; zero rows stay zero."""
    length = torch.linalg.vector_norm(vectors.flatten(1), dim=1)
    return vectors / column(length.masked_fill(length == 0, 1.0), vectors)


def box_width(around: Neighbourhood) -> float:
    """Return the width of the box, the unit in which attacks state lengths; 1 without a box."""
    return 1.0 if around.high == math.inf else around.high - around.low


def farthest_distance(around: Neighbourhood, ball: Ball) -> Tensor:
    """Return how far from each example the box reaches, in the ball's norm; infinite without a box."""
    x, low, high = around.x, around.low, around.high
    return ball.distance(torch.where(x - low > high - x, low, high).to(x), x)
