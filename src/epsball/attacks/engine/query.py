"""`Query`: what an attack sees of the model."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.averaged import Averaged, GradientNoise
from epsball.attacks.engine.evaluator import Evaluated, Evaluator
from epsball.attacks.engine.judge import Judge
from epsball.attacks.engine.pass_counts import Tally, only, spread
from epsball.attacks.engine.peer_module import PeerModule
from epsball.attacks.engine.record import Record, first_lowest
from epsball.classifier.margins import margins

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
        evaluator: Evaluator | Averaged,
        judge: Judge,
        record: Record,
        *,
        attack: str,
        stop: Stop,
        budget: int | None,
        total: int,
        classes: int,
    ) -> None:
        self._evaluator, self._judge, self._record = evaluator, judge, record
        self._first, self._budget = stop == "first", budget
        self.tally = Tally(record.index, attack)
        record.credit(attack)
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

    def begin_stage(self, attack: str) -> None:
        """Count what follows, and credit what it finds, to another attack that this one is made of.

        Raises
        ------
        SearchEnded
            If no example stands any more.
        """
        if len(self._local) == 0:
            raise SearchEnded
        self.tally.begin(0, attack)
        self._record.credit(attack)

    @property
    def natural(self) -> Float64[Tensor, " n"]:
        """The margins at the standing examples."""
        return self._record.natural[self._local]

    def best(self) -> tuple[Tensor, Float64[Tensor, " n"]]:
        """Return each standing example's point of lowest margin seen in the ball, and that margin."""
        return self._record.candidates(self._local), self._record.lowest(self._local)

    def nearest(self) -> tuple[Tensor, Float64[Tensor, " n"]]:
        """Return each standing example's nearest point of the box that looked adversarial, and its distance.

        The example itself and infinity where none did; for attacks whose domain is the box.
        """
        hits = self._record.hits[0]
        return hits.point[self._local], hits.distance[self._local]

    def rows_of(self, index: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
        """Return the rows among the standing examples of those at positions `index` of the call; -1 if they left."""
        rows = torch.full((self.total,), -1, dtype=torch.int64, device=index.device)
        rows[self.index] = torch.arange(len(self.index), device=index.device)
        return rows[index]

    def averaged(self, samples: int, noise: GradientNoise) -> "Query":
        """Return this query with every gradient the mean over `samples` evaluations, each of them paid for.

        Parameters
        ----------
        samples
            Evaluations a gradient.
        noise
            Gets the standard errors of the means.
        """
        query = copy.copy(self)
        query._evaluator = Averaged(self._evaluator, samples, noise)
        return query

    @contextmanager
    def module(self) -> Iterator[PeerModule]:
        """Give the model to a peer's attack, as a module that counts its passes.

        It attributes no rows: there is no dropping, no best point and no budget an example. At the
        end of the block the standing examples share the passes evenly.
        """
        if len(self._local) == 0:
            raise SearchEnded
        module = PeerModule(self._evaluator.classifier)
        try:
            yield module
        finally:
            self.tally.shared(self._local, module.forwards, module.backwards)

    def logits(
        self, points: Float[Tensor, "m *shape"], rows: Int64[Tensor, " m"] | None = None
    ) -> Float[Tensor, "m classes"]:
        """Return the logits of points, one forward each; see `evaluate`."""
        return self.evaluate(points, rows)[0]

    def evaluate(
        self, points: Float[Tensor, "m *shape"], rows: Int64[Tensor, " m"] | None = None
    ) -> tuple[Float[Tensor, "m classes"], Float64[Tensor, " m"]]:
        """Return the logits of points and their margins, at one forward each.

        Parameters
        ----------
        points
            Any number of rows a standing example; the model is not run for none.
        rows
            The owner of each row among the standing examples (default: one each, in order).

        Returns
        -------
        tuple
            Logits and margins; NaN for the rows of examples that could not pay, which leave.

        Raises
        ------
        SearchEnded
            If no example stands, or none of those standing can pay.
        """
        paid = self._paid(rows, 1)
        asked, kept_rows = only(paid, points, rows)
        if len(asked) == 0:
            nothing = self._unanswered(points)
            return nothing, nothing[:, 0].double()
        logits = self._evaluator.classifier.effective_logits(self._evaluator.logits(asked), self._labels(kept_rows))
        margin = self._observe(asked, logits, kept_rows, forwards=1, backwards=0)
        return spread(logits, paid, torch.nan), spread(margin, paid, torch.nan)

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
            If no example stands, or none of those standing can pay.
        ModelError
            If no gradient reaches the input.
        """
        repeats = self._evaluator.repeats
        paid = self._paid(rows, repeats * (1 + len(losses)))
        asked, kept_rows = only(paid, points, rows)
        if len(asked) == 0:
            nothing = self._unanswered(points)
            return nothing, [nothing[:, 0]] * len(losses), [torch.zeros_like(points)] * len(losses)
        effective, y = self._evaluator.classifier.effective_logits, self._labels(kept_rows)
        bound = [lambda logits, leaf, loss=loss: loss(effective(logits, y), leaf, kept_rows) for loss in losses]
        logits, values, gradients = self._evaluator.gradients(asked, bound)
        logits = effective(logits, y)
        gradients = [self._cleaned(gradient, self._owners(kept_rows)) for gradient in gradients]
        self._observe(asked, logits, kept_rows, forwards=repeats, backwards=repeats * len(losses))
        return (
            spread(logits, paid, torch.nan),
            [spread(value, paid, torch.nan) for value in values],
            [spread(gradient, paid, 0.0) for gradient in gradients],
        )

    def _owners(self, rows: Tensor | None) -> Tensor:
        return self._local if rows is None else self._local[rows]

    def _labels(self, rows: Tensor | None) -> Tensor:
        return self.y if rows is None else self.y[rows]

    def _paid(self, rows: Tensor | None, cost: int) -> Bool[Tensor, " m"] | None:
        """Return the rows whose examples can pay `cost` passes for each of theirs; None if all can."""
        if len(self._local) == 0:
            raise SearchEnded
        if self._budget is None:
            return None
        owners = self._owners(rows)
        poor = self.tally.beyond(self._budget, owners, cost)
        self._record.exhausted |= poor
        if bool(poor[self._local].all()):
            raise SearchEnded
        return ~poor[owners] if bool(poor[owners].any()) else None

    def _unanswered(self, points: Tensor) -> Tensor:
        """Let examples leave that cannot pay, where that is all who were asked for; return NaN for logits."""
        self.going_on = None
        self._leave()
        return points.new_full((len(points), self.classes), torch.nan)

    def _cleaned(self, gradient: Tensor, owners: Tensor) -> Tensor:
        """Count zero and non-finite gradients; return the gradient with its non-finite entries at 0."""
        length = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        if bool(((length > 0) & (length < torch.inf)).all()):
            return gradient
        self.tally.gradients(owners, ~gradient.flatten(1).any(1), ~gradient.flatten(1).isfinite().all(1))
        return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)

    def _observe(self, points: Tensor, logits: Tensor, rows: Tensor | None, *, forwards: int, backwards: int) -> Tensor:
        """Record what a call cost and found, and let examples leave; return the margins."""
        owners = self._owners(rows)
        self.tally.passes(owners, forwards, backwards)
        margin = margins(logits, self._labels(rows))
        if self._record.hits:
            self._record.meet(owners, points, margin, logits.abs().amax(1), self._evaluator.rounding)
        lower = ~(margin >= self.tally.lowest[owners])
        news = lower | (margin <= 0) if self._first else lower
        # Where the others lie does not matter.
        judged = bool(news.any()) and self._news(news, points, margin, rows)
        self.going_on = None
        if judged or self._budget is not None:
            self._leave()
        return margin

    def _news(self, news: Tensor, points: Tensor, margin: Tensor, rows: Tensor | None) -> bool:
        """Record those of the points that are news and lie in the ball; return whether any is judged."""
        asked = torch.nonzero(news)[:, 0]
        found = asked[self.neighbourhood.take(asked if rows is None else rows[asked]).inside(points[asked])]
        points, margin, owners = points[found], margin[found], self._owners(rows)[found]
        self.tally.margins(owners, margin)
        if rows is not None:
            best = first_lowest(owners, margin.nan_to_num(nan=torch.inf), len(self._record.x))
            self._record.propose(owners[best], points[best], margin[best])
        else:
            self._record.propose(owners, points, margin)
        suspects = ~(margin > 0) if self._first else margin.isnan()
        if not bool(suspects.any()):
            return False
        canonical = self._judge.margins(points[suspects], self._record.y[owners[suspects]])
        self._record.confirm(owners[suspects], points[suspects], canonical, self._judge.cost)
        return True

    def _leave(self) -> None:
        """Let examples leave that are done or cannot pay."""
        staying = ~self._record.left(including_broken=self._first)[self._local]
        if bool(staying.all()):
            return
        kept = torch.nonzero(staying)[:, 0]
        self._local = self._local[kept]
        self.x, self.y, self.index = self.x[kept], self.y[kept], self.index[kept]
        self.neighbourhood = self.neighbourhood.take(kept)
        self.going_on = kept
