"""`Query`: what an attack sees of the model."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball.attacks.evaluator import Evaluated, Evaluator
from epsball.attacks.judge import Judge
from epsball.attacks.margins import margins
from epsball.attacks.nearest import first_lowest
from epsball.attacks.record import Record
from epsball.attacks.tally import Tally

QueryLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Maps (logits, points, rows) to one loss a row; ``rows`` None means one row an example, in order.

Its gradient counts what it takes from the logits and what it takes from the points themselves."""

Stop = Literal["first", "never"]


class SearchEnded(Exception):
    """Raised by a query when no example stands any more or none can pay; the driver catches it."""


class Query:
    """The examples still standing, their logits and gradients, and nothing else of the model.

    Attributes
    ----------
    x, y
        The standing examples, their labels.
    index
        Their positions in the call's x; an attack's per-example fields are indexed by it.
    neighbourhood
        Ball and box around `x`.
    going_on
        After a call: the positions, among those that stood before it, of the examples that
        still stand; None if all do.
    total, classes
        Number of examples of the call, and of classes.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        judge: Judge,
        record: Record,
        *,
        stop: Stop,
        budget: int | None,
        total: int,
        classes: int,
    ) -> None:
        self._evaluator, self._judge, self._record = evaluator, judge, record
        self._first, self._budget = stop == "first", budget
        self.tally = Tally(record.index)
        standing = torch.nonzero(~record.left(including_broken=self._first))[:, 0]
        self._local = standing
        self.x, self.y, self.index = record.x[standing], record.y[standing], record.index[standing]
        self.neighbourhood = record.ball.at(self.x)
        self.going_on: Tensor | None = None
        self.total, self.classes = total, classes

    def begin(self, restart: int) -> None:
        """Start the ledger's rows of another restart.

        Raises
        ------
        SearchEnded
            If no example stands any more.
        """
        if len(self._local) == 0:
            raise SearchEnded
        self.tally.begin(restart)

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

        Returns
        -------
        Tensor
            NaN for the rows of examples that could not pay; they leave.

        Raises
        ------
        SearchEnded
            If no example stands, or none that is asked for can pay.
        """
        paid = self._paid(rows, 1)
        points, kept_rows = _only(paid, points, rows)
        inside = self._inside(points, kept_rows)
        logits = self._evaluator.logits(points)
        self._observe(points, inside, logits, kept_rows, backwards=0)
        return _spread(logits, paid, torch.nan)

    def gradient(
        self,
        points: Float[Tensor, "m *shape"],
        losses: Sequence[QueryLoss],
        rows: Int64[Tensor, " m"] | None = None,
    ) -> Evaluated:
        """Return logits, losses and their gradients in the points: one forward, one backward a loss.

        Entries of a gradient that are not finite come back as 0, and the ledger counts them.

        Raises
        ------
        SearchEnded
            If no example stands, or none that is asked for can pay.
        ModelError
            If no gradient reaches the input.
        """
        paid = self._paid(rows, 1 + len(losses))
        points, kept_rows = _only(paid, points, rows)
        bound = [lambda logits, leaf, loss=loss: loss(logits, leaf, kept_rows) for loss in losses]
        inside = self._inside(points, kept_rows)
        logits, values, gradients = self._evaluator.gradients(points, bound)
        gradients = [self._cleaned(gradient, self._owners(kept_rows)) for gradient in gradients]
        self._observe(points, inside, logits, kept_rows, backwards=len(losses))
        return (
            _spread(logits, paid, torch.nan),
            [_spread(value, paid, torch.nan) for value in values],
            [_spread(gradient, paid, 0.0) for gradient in gradients],
        )

    def _owners(self, rows: Tensor | None) -> Tensor:
        return self._local if rows is None else self._local[rows]

    def _paid(self, rows: Tensor | None, cost: int) -> Bool[Tensor, " m"] | None:
        """Return the rows whose examples can pay `cost` passes for each of theirs; None if all can."""
        if len(self._local) == 0:
            raise SearchEnded
        if self._budget is None:
            return None
        owners = self._owners(rows)
        due = cost * torch.bincount(owners, minlength=len(self.tally.spent))
        poor = self.tally.spent + due > self._budget
        self._record.exhausted |= poor & (due > 0)
        if not bool(poor[owners].any()):
            return None
        if bool(poor[owners].all()):
            raise SearchEnded
        return ~poor[owners]

    def _cleaned(self, gradient: Tensor, owners: Tensor) -> Tensor:
        """Count zero and non-finite gradients; return the gradient with its non-finite entries at 0."""
        length = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        if bool(((length > 0) & (length < torch.inf)).all()):
            return gradient
        flat = gradient.flatten(1)
        self.tally.gradients(owners, ~flat.any(1), ~flat.isfinite().all(1))
        return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)

    def _inside(self, points: Tensor, rows: Tensor | None) -> Tensor:
        """Return which points are candidates; asked before the model runs, while they lie in the cache."""
        return (self.neighbourhood if rows is None else self.neighbourhood.take(rows)).inside(points)

    def _observe(self, points: Tensor, inside: Tensor, logits: Tensor, rows: Tensor | None, backwards: int) -> None:
        """Record what a call cost and found, and let examples leave."""
        owners = self._owners(rows)
        self.tally.passes(owners, backwards)
        margin = margins(logits, self.y if rows is None else self.y[rows])
        if self._record.hits:
            self._hits(owners, points, logits, margin)
        seen = torch.where(inside, margin, torch.inf)
        self.tally.margins(owners, seen)
        if rows is None:
            self._record.propose(owners, points, seen)
        else:
            best = first_lowest(owners, seen.nan_to_num(nan=torch.inf), len(self._record.x))
            self._record.propose(owners[best], points[best], seen[best])
        suspects = ~(seen > 0) if self._first else seen.isnan()
        self.going_on = None
        if bool(suspects.any()):
            canonical = self._judge.margins(points[suspects], self._record.y[owners[suspects]])
            self._record.confirm(owners[suspects], points[suspects], canonical, self._judge.cost)
        if self._budget is not None or bool(suspects.any()):
            self._drop(self._record.left(including_broken=self._first)[self._local])

    def _hits(self, owners: Tensor, points: Tensor, logits: Tensor, margin: Tensor) -> None:
        """Keep the nearest points of the box that look adversarial, also beyond the search's rounding."""
        rows = torch.nonzero((margin <= 0) & self._record.ball.in_box(points))[:, 0]
        scale = torch.maximum(logits[rows].abs().amax(1).double(), self._record.natural[owners[rows]])
        firm = rows[margin[rows] <= -self._evaluator.rounding * scale]
        for hits, kept in zip(self._record.hits, (rows, firm), strict=True):
            hits.propose(owners[kept], points[kept])

    def _drop(self, leaving: Bool[Tensor, " n"]) -> None:
        if not bool(leaving.any()):
            return
        kept = torch.nonzero(~leaving)[:, 0]
        self._local = self._local[kept]
        self.x, self.y, self.index = self.x[kept], self.y[kept], self.index[kept]
        self.neighbourhood = self.neighbourhood.take(kept)
        self.going_on = kept


def _only(paid: Tensor | None, points: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the points and owners of the rows that are paid for."""
    if paid is None:
        return points, rows
    owners = torch.arange(len(points), device=points.device) if rows is None else rows
    return points[paid], owners[paid]


def _spread(values: Tensor, paid: Tensor | None, missing: float) -> Tensor:
    """Return values of the paid rows among all rows."""
    if paid is None:
        return values
    out = values.new_full((len(paid), *values.shape[1:]), missing)
    out[paid] = values
    return out
