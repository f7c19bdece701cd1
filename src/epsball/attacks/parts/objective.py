"""`Walkers`: points that move in the neighbourhoods of the standing examples, one or more an example."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.query import Query
from epsball.ball import Neighbourhood

WalkerLoss = Callable[[Tensor, Tensor, Any], Tensor]
"""Maps (logits, labels, targets) to one loss a row; targets are None where the attack has none."""


class Walkers:
    """Rows that belong to standing examples, see their loss through a query, and leave with them.

    Parameters
    ----------
    query
        The examples still standing.
    loss
        What the rows ascend.
    owners
        Position of each row's example among those standing now (None: one row each, in order).
    targets
        Target class of each row, for a loss that has one.
    """

    def __init__(
        self,
        query: Query,
        loss: WalkerLoss,
        owners: Int64[Tensor, " m"] | None = None,
        targets: Int64[Tensor, " m"] | None = None,
    ) -> None:
        self._query, self._loss = query, loss
        self.owners, self.targets = owners, targets

    @property
    def neighbourhood(self) -> Neighbourhood:
        """Ball and box around the rows' examples, a row each."""
        return self._query.neighbourhood if self.owners is None else self._query.neighbourhood.take(self.owners)

    @property
    def index(self) -> Int64[Tensor, " m"]:
        """Position of the rows' examples in the call's x."""
        return self._query.index if self.owners is None else self._query.index[self.owners]

    @property
    def y(self) -> Int64[Tensor, " m"]:
        """The rows' labels."""
        return self._query.y if self.owners is None else self._query.y[self.owners]

    def __len__(self) -> int:
        return len(self._query.x) if self.owners is None else len(self.owners)

    def gradient(self, points: Float[Tensor, "m *shape"]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return losses, their gradients in the points, and the rows that go on (None: all of them).

        One forward and one backward a row.
        """
        _, (value,), (gradient,) = self._query.gradient(points, [self._paid_loss], self.owners)
        return _comparable(value), gradient, self._gathered()

    def value(self, points: Float[Tensor, "m *shape"]) -> tuple[Tensor, Tensor | None]:
        """Return losses and the rows that go on, at one forward a row."""
        y, targets = self.y, self.targets
        value = self._loss(self._query.logits(points, self.owners), y, targets)
        return _comparable(value), self._gathered()

    def margin(self, points: Float[Tensor, "m *shape"]) -> tuple[Float64[Tensor, " m"], Tensor | None]:
        """Return margins, whatever the loss, and the rows that go on, at one forward a row."""
        return self._query.evaluate(points, self.owners)[1], self._gathered()

    def _paid_loss(self, logits: Tensor, points: Tensor, rows: Tensor | None) -> Tensor:
        """Return the loss of the rows that are paid for; an example pays for all of its rows or for none."""
        y, targets = self.y, self.targets
        if len(logits) < len(y):
            owners = torch.arange(len(y), device=y.device) if self.owners is None else self.owners
            paid = torch.isin(owners, torch.as_tensor(rows))
            y, targets = y[paid], None if targets is None else targets[paid]
        return self._loss(logits, y, targets)

    def _gathered(self) -> Tensor | None:
        """Let the rows of examples that left leave; return the others' positions."""
        going_on = self._query.going_on
        if going_on is None:
            return None
        kept = going_on
        if self.owners is not None:
            kept = torch.nonzero(torch.isin(self.owners, going_on))[:, 0]
            self.owners = torch.searchsorted(going_on, self.owners[kept])
        if self.targets is not None:
            self.targets = self.targets[kept]
        return kept


def _comparable(value: Tensor) -> Tensor:
    """Return losses with NaN as the lowest: the search's precision may overflow where the canonical pass does not."""
    return torch.where(value.isnan(), -torch.inf, value)
