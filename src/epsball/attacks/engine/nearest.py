"""The nearest adversarial points a search has come upon."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


class Nearest:
    """The nearest point proposed for each example, not verified.

    Attributes
    ----------
    point, distance
        The point, and its distance from the example; the example itself and infinity at first.
    """

    def __init__(self, x: Float[Tensor, "n *shape"]) -> None:
        self.point = x.clone()
        self.distance = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)

    def propose(
        self, owners: Int64[Tensor, " m"], points: Float[Tensor, "m *shape"], distance: Float64[Tensor, " m"]
    ) -> None:
        """Keep the points that are nearer to their owners than what was proposed before."""
        nearer = torch.nonzero(distance < self.distance[owners])[:, 0]
        if len(nearer) == 0:
            return
        rows = nearer[first_lowest(owners[nearer], distance[nearer], len(self.distance))]
        chosen = owners[rows]
        self.point.index_copy_(0, chosen, points.index_select(0, rows))
        self.distance.index_copy_(0, chosen, distance[rows])


def first_lowest(owners: Int64[Tensor, " m"], values: Float64[Tensor, " m"], n: int) -> Int64[Tensor, " k"]:
    """Return for each owner among 0..n-1 that has rows the first of its rows of lowest value."""
    lowest = values.new_full((n,), torch.inf).scatter_reduce_(0, owners, values, "amin")
    rows = torch.nonzero(values == lowest[owners])[:, 0]
    first = owners.new_full((n,), len(owners)).scatter_reduce_(0, owners[rows], rows, "amin")
    return first[first < len(owners)]
