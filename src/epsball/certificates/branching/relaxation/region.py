"""`Region`: where linear functions are least on one example's domain, for searches."""

from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.branching.relaxation.matrices import Sparse
from epsball.certificates.domain import Domain


class Region(NamedTuple):
    """One example's domain with its axes as one: the ball cut by its box.

    Parameters
    ----------
    low, high, centre
        Ends of the box and the centre, (d,).
    norm, radius
        Of the ball; over linf the box is all.
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    norm: str
    radius: float

    @classmethod
    def of(cls, domain: Domain, dtype: torch.dtype) -> "Region":
        """Return the domain of a batch of one."""
        low, high, centre = (end[0].flatten().to(dtype) for end in (*domain.box, domain.centre))
        return cls(low, high, centre, domain.norm, domain.radius)

    def least(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return a lower bound of c . x for columns c (d, b), (b,), and a point of it, (d, b).

        Over the box, or where that gives more over the ball of l2, as in `Domain.least`: the point may then leave the
        box. Over l1 it is the least over both together.
        """
        at_box = torch.where(columns > 0, self.low.unsqueeze(1), self.high.unsqueeze(1))
        over_box = (columns * at_box).sum(dim=0)
        if self.norm == "linf":
            return over_box, at_box
        if self.norm == "l1":
            order = columns.abs().argsort(dim=0, descending=True)
            room = (at_box - self.centre.unsqueeze(1)).gather(0, order)
            filled = room.abs().cumsum(dim=0)
            left = (self.radius - filled + room.abs()).clamp(min=0)
            moved = torch.zeros_like(room).scatter_(0, order, room.sign() * torch.minimum(room.abs(), left))
            at_both = self.centre.unsqueeze(1) + moved
            return (columns * at_both).sum(dim=0), at_both
        length = torch.linalg.vector_norm(columns, dim=0).clamp(min=1e-30)
        at_ball = self.centre.unsqueeze(1) - self.radius * columns / length
        over_ball = (columns * at_ball).sum(dim=0)
        return torch.maximum(over_ball, over_box), torch.where(over_ball > over_box, at_ball, at_box)

    def least_by_row(self, rows: Sparse) -> tuple[Tensor, Tensor]:
        """Return the same for the rows of a sparse matrix: a lower bound, (m,), and the point's entries beside them."""
        values, at = rows.values, rows.columns
        at_box = torch.where(values > 0, self.low[at], self.high[at])
        over_box = rows.sums(values * at_box)
        if self.norm == "linf":
            return over_box, at_box
        if self.norm == "l1":
            # Row by row, the steepest entries first.
            order = values.abs().argsort(descending=True, stable=True)
            order = order[rows.rows[order].argsort(stable=True)]
            room = (at_box - self.centre[at])[order]
            filled = torch.cat([room.new_zeros(1), room.abs().cumsum(0)])
            left = (self.radius - filled[:-1] + filled[rows.starts[:-1]][rows.rows]).clamp(min=0)
            moved = torch.empty_like(room).index_copy_(0, order, room.sign() * torch.minimum(room.abs(), left))
            at_both = self.centre[at] + moved
            return rows.sums(values * at_both), at_both
        length = rows.sums(values.square()).sqrt().clamp(min=1e-30)
        at_ball = self.centre[at] - self.radius * values / length[rows.rows]
        over_ball = rows.sums(values * self.centre[at]) - self.radius * length
        nearer = over_ball > over_box
        return torch.maximum(over_ball, over_box), torch.where(nearer[rows.rows], at_ball, at_box)

    def inside(self, points: Tensor) -> Tensor:
        """Return points moved into the box, and towards the centre until they lie in the ball."""
        away = points.clamp(self.low, self.high) - self.centre
        if self.norm == "linf":
            return away + self.centre
        size = torch.linalg.vector_norm(away, 2.0 if self.norm == "l2" else 1.0, dim=1, keepdim=True)
        return self.centre + away * (self.radius / size.clamp(min=1e-30)).clamp(max=1.0)
