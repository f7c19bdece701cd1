"""The nearest adversarial points a search has come upon."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.ball import Ball


class Nearest:
    """The nearest point proposed for each example, not verified.

    Attributes
    ----------
    point, distance
        The point, and its distance from the example; the example itself and infinity at first.
    """

    def __init__(self, ball: Ball, x: Float[Tensor, "n *shape"]) -> None:
        self.ball, self.x = ball, x
        self.point = x.clone()
        self.distance = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)

    def propose(self, owners: Int64[Tensor, " m"], points: Float[Tensor, "m *shape"]) -> Int64[Tensor, " k"]:
        """Keep the points that are nearer than what was proposed before; return the examples they belong to."""
        if len(owners) == 0:
            return owners
        distance = self.ball.distance(points, self.x[owners])
        nearer = torch.nonzero(distance < self.distance[owners])[:, 0]
        rows = nearer[first_lowest(owners[nearer], distance[nearer], len(self.x))]
        chosen = owners[rows]
        self.point.index_copy_(0, chosen, points.index_select(0, rows))
        self.distance.index_copy_(0, chosen, distance[rows])
        return chosen


def first_lowest(owners: Int64[Tensor, " m"], values: Float64[Tensor, " m"], n: int) -> Int64[Tensor, " k"]:
    """Return for each owner among 0..n-1 that has rows the first of its rows of lowest value."""
    lowest = values.new_full((n,), torch.inf).scatter_reduce_(0, owners, values, "amin")
    rows = torch.nonzero(values == lowest[owners])[:, 0]
    first = owners.new_full((n,), len(owners)).scatter_reduce_(0, owners[rows], rows, "amin")
    return first[first < len(owners)]
