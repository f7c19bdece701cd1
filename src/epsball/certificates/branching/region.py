"""`Region`: where linear functions are least on one example's domain, for searches."""

from typing import NamedTuple

import torch
from torch import Tensor

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

    def least(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return a lower bound of rows . x, (b,), and a point of it, (b, d).

        Over the box, or over the ball where that gives more, as in `Domain.least`: the point may then leave the box.
        """
        at_box = torch.where(rows > 0, self.low, self.high)
        over_box = (rows * at_box).sum(dim=1)
        if self.norm == "linf":
            return over_box, at_box
        if self.norm == "l2":
            length = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp(min=1e-30)
            step = rows / length
        else:
            most = rows.abs().argmax(dim=1, keepdim=True)
            step = torch.zeros_like(rows).scatter_(1, most, rows.gather(1, most).sign())
        at_ball = self.centre - self.radius * step
        over_ball = (rows * at_ball).sum(dim=1)
        point = torch.where((over_ball > over_box).unsqueeze(1), at_ball, at_box)
        return torch.maximum(over_ball, over_box), point

    def inside(self, points: Tensor) -> Tensor:
        """Return points moved into the box, and towards the centre until they lie in the ball."""
        away = points.clamp(self.low, self.high) - self.centre
        if self.norm == "linf":
            return away + self.centre
        size = torch.linalg.vector_norm(away, 2.0 if self.norm == "l2" else 1.0, dim=1, keepdim=True)
        return self.centre + away * (self.radius / size.clamp(min=1e-30)).clamp(max=1.0)
