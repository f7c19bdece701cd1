"""`Box`: lower and upper bounds of every entry of a node's value."""

from typing import NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """low <= value <= high, entry by entry; both (n, *shape).

    Examples
    --------
    >>> import torch
    >>> Box(low=torch.tensor([[-2.0, 0.0]]), high=torch.tensor([[1.0, 3.0]])).magnitude
    tensor([[2., 3.]])
    """

    low: Tensor
    high: Tensor

    @property
    def magnitude(self) -> Tensor:
        """The largest absolute value inside."""
        return torch.maximum(-self.low, self.high)

    def widened(self, by: Tensor | float) -> "Box":
        """Return the box that is larger on each side by a non-negative amount."""
        return Box(self.low - by, self.high + by)

    def intersected(self, other: "Box") -> "Box":
        """Return what lies in both."""
        return Box(torch.maximum(self.low, other.low), torch.minimum(self.high, other.high))

    def sound(self) -> "Box":
        """Return the box with infinite ends where a NaN stands: what is not known is not bounded."""
        return Box(
            torch.where(self.low.isnan(), -torch.inf, self.low), torch.where(self.high.isnan(), torch.inf, self.high)
        )

    def take(self, rows: Tensor | slice) -> "Box":
        """Return the boxes of some examples; a box that all examples share stays as it is."""
        return self if len(self.low) == 1 else Box(self.low[rows], self.high[rows])
