"""`RowObjective`: a loss of rows that belong to the active examples, one or more per example."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.query import Query, QueryLoss
from epsball.attacks.losses import Loss
from epsball.ball import Neighbourhood

RowLoss = Callable[[Tensor, Tensor, Any], Tensor]
"""Maps (logits, labels, targets) to one loss per row; targets are None where the attack has none."""


def untargeted(loss: Loss) -> RowLoss:
    """Return a loss (logits, labels) as one of rows, which ignores their targets."""
    return lambda logits, y, targets: loss(logits, y)


def of_labels(query: Query, loss: Loss) -> QueryLoss:
    """Return a loss (logits, labels) as one of the query's active examples."""
    return lambda logits, points, rows: loss(logits, query.y if rows is None else query.y[rows])


class RowObjective:
    """The loss of rows that belong to active examples, seen through a query, and leave with them.

    Parameters
    ----------
    query
        The active examples.
    loss
        What the rows ascend.
    owners
        Position of each row's example among the active ones (None: one row each, in order).
    targets
        Target class of each row, for a loss that has one.
    """

    def __init__(
        self,
        query: Query,
        loss: RowLoss,
        owners: Int64[Tensor, " m"] | None = None,
        targets: Int64[Tensor, " m"] | None = None,
    ) -> None:
        self._query, self._loss = query, loss
        self.owners, self.targets = owners, targets

    @property
    def neighbourhood(self) -> Neighbourhood:
        """Ball and box around the rows' examples, one row each."""
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

        One forward and one backward per row.
        """
        _, (value,), (gradient,) = self._query.gradient(points, [self._affordable_loss], self.owners)
        return _comparable(value), gradient, self._remaining()

    def value(self, points: Float[Tensor, "m *shape"]) -> tuple[Tensor, Tensor | None]:
        """Return losses and the rows that go on, at one forward per row."""
        y, targets = self.y, self.targets
        value = self._loss(self._query.logits(points, self.owners), y, targets)
        return _comparable(value), self._remaining()

    def margin(self, points: Float[Tensor, "m *shape"]) -> tuple[Float64[Tensor, " m"], Tensor | None]:
        """Return margins, whatever the loss, and the rows that go on, at one forward per row."""
        return self._query.evaluate(points, self.owners)[1], self._remaining()

    def _affordable_loss(self, logits: Tensor, points: Tensor, rows: Tensor | None) -> Tensor:
        """Return the loss of the affordable rows; an example pays for all of its rows or for none."""
        y, targets = self.y, self.targets
        if len(logits) < len(y):
            owners = torch.arange(len(y), device=y.device) if self.owners is None else self.owners
            affordable = torch.isin(owners, torch.as_tensor(rows))
            y, targets = y[affordable], None if targets is None else targets[affordable]
        return self._loss(logits, y, targets)

    def _remaining(self) -> Tensor | None:
        """Drop the rows of examples that left; return the positions of the others (None: all)."""
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
    """Return losses with NaN as the lowest: the search may overflow where the canonical pass does not."""
    return torch.where(value.isnan(), -torch.inf, value)
