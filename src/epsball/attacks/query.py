"""`Query`: what an attack sees of the model, and the record of what it found."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball.attacks.evaluator import Evaluated, Evaluator
from epsball.attacks.judge import Judge, margins
from epsball.attacks.record import Record
from epsball.ball import Ball

QueryLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Maps (logits, points, rows) to one loss a row; ``rows`` None means one row an example, in order."""

Stop = Literal["first", "never"]


class SearchEnded(Exception):
    """Raised by a query when no example stands any more or the budget is spent; the driver catches it."""


class Query:
    """The examples still standing, their logits and gradients, and nothing else of the model.

    Attributes
    ----------
    x, y
        The standing examples, their labels.
    index
        Their positions in the call's x; an attack's per-example fields are indexed by it.
    going_on
        After a call: the positions, among those that stood before it, of the examples that
        still stand; None if all do.
    total, classes
        Number of examples of the call, and of classes.
    """

    def __init__(
        self, evaluator: Evaluator, judge: Judge, ball: Ball, record: Record, stop: Stop, budget: int | None
    ) -> None:
        self._evaluator, self._judge, self._record = evaluator, judge, record
        self._stop, self._budget = stop, budget
        standing = torch.nonzero(~record.left(including_broken=stop == "first"))[:, 0]
        self._local = standing
        self.x, self.y, self.index = record.x[standing], record.y[standing], record.index[standing]
        self._neighbourhood = ball.at(self.x)
        self.going_on: Tensor | None = None
        self.total, self.classes = record.total, record.classes

    def begin(self, restart: int) -> None:
        """Start the ledger's row of another restart.

        Raises
        ------
        SearchEnded
            If no example stands any more.
        """
        self._require(0)
        self._record.begin(restart)

    def logits(
        self, points: Float[Tensor, "m *shape"], rows: Int64[Tensor, " m"] | None = None
    ) -> Float[Tensor, "m classes"]:
        """Return the logits of points, one forward each.

        Parameters
        ----------
        points
            Any number of rows a standing example.
        rows
            The owner of each row among the standing examples (default: one each, in order).

        Raises
        ------
        SearchEnded
            If no example stands, or the budget does not allow the call.
        """
        self._require(1)
        logits = self._evaluator.logits(points)
        self._observe(points, logits, rows, backwards=0)
        return logits

    def gradient(
        self,
        points: Float[Tensor, "m *shape"],
        losses: Sequence[QueryLoss],
        rows: Int64[Tensor, " m"] | None = None,
    ) -> Evaluated:
        """Return logits, losses and their gradients in the points: one forward, one backward a loss.

        Raises
        ------
        SearchEnded
            If no example stands, or the budget does not allow the call.
        ModelError
            If no gradient reaches the input.
        """
        self._require(1 + len(losses))
        bound = [lambda logits, loss=loss: loss(logits, points, rows) for loss in losses]
        logits, values, gradients = self._evaluator.gradients(points, bound)
        vanished = [~gradient.flatten(1).any(1) for gradient in gradients]
        self._observe(points, logits, rows, backwards=len(losses), vanished=vanished)
        return logits, values, gradients

    def _require(self, cost: int) -> None:
        """Raise SearchEnded if nobody stands or `cost` more passes would break the budget."""
        if len(self._local) == 0:
            raise SearchEnded
        if self._budget is not None and self._record.most_spent(self._local) + cost > self._budget:
            raise SearchEnded

    def _observe(
        self,
        points: Tensor,
        logits: Tensor,
        rows: Tensor | None,
        backwards: int,
        vanished: Sequence[Bool[Tensor, " m"]] = (),
    ) -> None:
        """Record what a call cost and found, and let examples leave."""
        owners = self._local if rows is None else self._local[rows]
        self._record.count(owners, backwards, vanished)
        margin = margins(logits, self.y if rows is None else self.y[rows])
        neighbourhood = self._neighbourhood if rows is None else self._neighbourhood.take(rows)
        inside = neighbourhood.inside(points)
        self._record.update(owners, points, margin, inside)
        suspects = ((margin <= 0) & inside & (self._stop == "first")) | (margin.isnan() & inside)
        leaving = torch.zeros(len(self._local), dtype=torch.bool, device=points.device)
        if bool(suspects.any()):
            self._confirm(points[suspects], owners[suspects])
            leaving = self._record.left(including_broken=self._stop == "first")[self._local]
        self._drop(leaving)

    def _confirm(self, points: Tensor, owners: Tensor) -> None:
        """Let the canonical pass decide on points that look broken or not finite."""
        margin = self._judge.margins(points, self._record.y[owners])
        self._record.confirm(owners, points, margin, self._judge.cost)

    def _drop(self, leaving: Bool[Tensor, " n"]) -> None:
        if not bool(leaving.any()):
            self.going_on = None
            return
        kept = torch.nonzero(~leaving)[:, 0]
        self._local = self._local[kept]
        self.x, self.y, self.index = self.x[kept], self.y[kept], self.index[kept]
        self._neighbourhood = self._neighbourhood.take(kept)
        self.going_on = kept
