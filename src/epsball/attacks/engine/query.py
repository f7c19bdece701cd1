"""`Query`: what an attack sees of the model."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import get_args

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from epsball.attacks.engine.counting_module import CountingModule
from epsball.attacks.engine.evaluator import (
    AveragedEvaluator,
    BorrowedGradients,
    Evaluated,
    Evaluator,
    GradientMode,
    GradientNoise,
)
from epsball.attacks.engine.judge import Judge
from epsball.attacks.engine.pass_counts import PassCounter
from epsball.attacks.engine.record import Record, first_lowest
from epsball.classifier.margins import margins
from epsball.errors import InputError
from epsball.names import Stop

QueryLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Maps (logits, points, rows) to one loss per row; ``rows`` None means one row per example, in order.

Its gradient is taken through the logits and through the points themselves."""

STOPS: tuple[Stop, ...] = get_args(Stop)


class SearchEnded(Exception):
    """Raised by a query when no example is active any more, or none can pay; the search catches it."""


class Query:
    """The active examples (those still searched), their logits and gradients, and nothing else of the model.

    Attributes
    ----------
    x, y
        The active examples and their labels.
    index
        Their positions in the call's x; an attack's per-example fields are indexed by it.
    neighbourhood
        Ball and box around `x`.
    going_on
        After a call: the rows of the examples that are still active, among those active before it;
        None if all are.
    total, classes
        Number of examples of the call, and of classes.
    counter
        Passes and lowest margins, for the ledger.

    Parameters
    ----------
    on_leave
        Told how many examples have left whenever some do.

    Examples
    --------
    An attack gets it from `epsball.attack`:

    >>> import torch, epsball as eb
    >>> class Look(eb.attacks.Attack):
    ...     name = "look"
    ...     def __call__(self, query, ball, *, keys):
    ...         print(query.logits(query.x), query.going_on)
    >>> x, y = torch.tensor([[1.0, 0.25]]), torch.tensor([0])
    >>> result = eb.attack(eb.Classifier(torch.nn.Identity()), x, y, eb.Ball("linf", 0.1), method=Look())
    tensor([[1.0000, 0.2500]]) None
    """

    def __init__(
        self,
        evaluator: Evaluator | AveragedEvaluator | BorrowedGradients,
        judge: Judge,
        record: Record,
        *,
        attack: str,
        stop: Stop,
        budget: int | None,
        total: int,
        classes: int,
        on_leave: Callable[[int], None] | None = None,
    ) -> None:
        self._evaluator, self._judge, self._record = evaluator, judge, record
        self._first, self._budget = stop == "first", budget
        self.counter = PassCounter(record.index, attack)
        record.attribute(attack)
        active = torch.nonzero(~record.done(including_broken=self._first))[:, 0]
        self._active = active
        self.x, self.y, self.index = record.x[active], record.y[active], record.index[active]
        self.neighbourhood = record.ball.at(self.x)
        self.going_on: Tensor | None = None
        self.total, self.classes = total, classes
        self._on_leave = on_leave
        self._keeping, self._leaving_flat = True, False

    def begin(self, restart: int) -> None:
        """Start the ledger's rows of another restart.

        Raises
        ------
        SearchEnded
            If no example is active any more.
        """
        if len(self._active) == 0:
            raise SearchEnded
        self.counter.begin(restart)

    def begin_stage(self, attack: str) -> None:
        """Count what follows, and attribute what it finds, to another attack that this one is made of.

        Raises
        ------
        SearchEnded
            If no example is active any more.
        """
        if len(self._active) == 0:
            raise SearchEnded
        self.counter.begin(0, attack)
        self._record.attribute(attack)

    component = begin_stage  # old name, until 0.3

    @property
    def natural(self) -> Float64[Tensor, " n"]:
        """The margins at the active examples."""
        return self._record.natural[self._active]

    def best(self) -> tuple[Tensor, Float64[Tensor, " n"]]:
        """Return each active example's point of lowest margin seen in the ball, and that margin."""
        return self._record.candidates(self._active), self._record.lowest(self._active)

    def bad_gradients(self) -> Int64[Tensor, " n"]:
        """Return how many gradients of each active example had NaN or infinite entries in this restart."""
        return self.counter.bad[self._active]

    def lowest_seen(self) -> Float64[Tensor, " n"]:
        """Return the lowest margin that this restart saw in each active example's ball; infinite at first."""
        return self.counter.lowest[self._active]

    def note(self, fact: str) -> None:
        """Note something about the model that the result is to say."""
        self._record.notes[fact] = None

    def nearest(self) -> tuple[Tensor, Float64[Tensor, " n"]]:
        """Return each active example's nearest point of the box that looked adversarial, and its distance.

        The example itself and infinity where none did; for attacks whose domain is the box.
        """
        nearest = self._record.nearest_candidates[0]
        return nearest.point[self._active], nearest.distance[self._active]

    def rows_of(self, index: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
        """Return the rows, among the active examples, of those at positions `index` of the call; -1 if they left."""
        rows = torch.full((self.total,), -1, dtype=torch.int64, device=index.device)
        rows[self.index] = torch.arange(len(self.index), device=index.device)
        return rows[index]

    def averaged(self, samples: int, noise: GradientNoise) -> "Query":
        """Return this query with every gradient the mean over `samples` evaluations, all of which are counted.

        Parameters
        ----------
        samples
            Evaluations per gradient.
        noise
            Receives the standard errors of the means.
        """
        query = copy.copy(self)
        query._evaluator = AveragedEvaluator(self._evaluator, samples, noise)
        return query

    def borrowing(self, network: nn.Module) -> "Query":
        """Return this query with the losses and gradients of another network; logits alone stay the model's.

        Parameters
        ----------
        network
            Maps raw inputs to logits, in evaluation mode with frozen parameters.
        """
        query = copy.copy(self)
        if not isinstance(self._evaluator, Evaluator):
            raise InputError("gradients are averaged already; borrow them first, then average.")
        query._evaluator = BorrowedGradients(self._evaluator, network)
        return query

    def seen_by(self, evaluator: Callable[[Evaluator], BorrowedGradients]) -> "Query":
        """Return this query with losses and gradients by another evaluator, made from the model's own.

        Parameters
        ----------
        evaluator
            Makes it; the logits that it returns are to be the model's.
        """
        if not isinstance(self._evaluator, Evaluator):
            raise InputError("gradients are averaged already; borrow them first, then average.")
        query = copy.copy(self)
        query._evaluator = evaluator(self._evaluator)
        return query

    def differentiated_by(self, mode: Callable[[nn.Module], AbstractContextManager[GradientMode]]) -> "Query":
        """Return this query with gradients taken in another mode; values and verdicts are the same.

        Parameters
        ----------
        mode
            Maps the network to the block in which it runs where gradients are asked for.
        """
        query = copy.copy(self)
        query._evaluator = self._evaluator.differentiated_by(mode)
        return query

    def unrecorded(self) -> "Query":
        """Return this query without a memory: its passes are counted, what they show is not kept.

        For measurements that must leave the search as it is. No example leaves this view: where the budget allows no
        further call, its answers are NaN.
        """
        query = copy.copy(self)
        query._keeping = False
        return query

    def of(self, rows: Int64[Tensor, " k"]) -> "Query":
        """Return this query with some of the active examples only; what it finds is kept as ever.

        The examples that it lets leave go from this query by `catch_up`.
        """
        query = copy.copy(self)
        query._keep_rows(rows)
        query.going_on = None
        return query

    def leaving_flat(self) -> "Query":
        """Return this query with examples leaving at a call in which all their gradients are exactly zero.

        They leave the view only; `epsball.attack` and this query still hold them.
        """
        query = copy.copy(self)
        query._leaving_flat = True
        return query

    @property
    def stochastic(self) -> bool:
        """Whether the model draws random numbers."""
        return self._evaluator.classifier.stochastic

    def scripted(self) -> list[str]:
        """Return the names of the model's parts that are TorchScript, whose operations Python does not see."""
        parts = self._evaluator.classifier.network.named_modules()
        return [name or "the model" for name, part in parts if isinstance(part, torch.jit.ScriptModule)][:3]

    def catch_up(self) -> None:
        """Let the examples leave that another view of this search has finished.

        Raises
        ------
        SearchEnded
            If no example is active any more.
        """
        self.going_on = None
        self._leave()
        if len(self._active) == 0:
            raise SearchEnded

    @contextmanager
    def module(self) -> Iterator[CountingModule]:
        """Give the model to another library's attack, as a module that counts its passes.

        It attributes no rows: no example leaves, no best point is kept and no budget per example holds.
        At the end of the block the active examples share the passes evenly.
        """
        if len(self._active) == 0:
            raise SearchEnded
        module = CountingModule(self._evaluator.classifier)
        try:
            yield module
        finally:
            self.counter.shared(self._active, module.forwards, module.backwards)

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
            Any number of rows per active example; with none the model is not run.
        rows
            The owner of each row among the active examples (default: one each, in order).

        Returns
        -------
        tuple
            Logits and margins; NaN in the rows of examples that could not pay, which leave.

        Raises
        ------
        SearchEnded
            If no example is active, or none of them can pay.
        """
        affordable = self._affordable(rows, 1)
        asked, kept_rows = select_rows(affordable, points, rows)
        if len(asked) == 0:
            nothing = self._unanswered(points)
            return nothing, nothing[:, 0].double()
        logits = self._evaluator.classifier.effective_logits(self._evaluator.logits(asked), self._labels(kept_rows))
        margin = self._observe(asked, logits, kept_rows, forwards=1, backwards=0)
        return scatter_rows(logits, affordable, torch.nan), scatter_rows(margin, affordable, torch.nan)

    def gradient(
        self,
        points: Float[Tensor, "m *shape"],
        losses: Sequence[QueryLoss],
        rows: Int64[Tensor, " m"] | None = None,
    ) -> Evaluated:
        """Return logits, losses and their gradients in the points: one forward, one backward per loss.

        Gradient entries that are not finite come back as 0; the ledger counts such gradients.

        Raises
        ------
        SearchEnded
            If no example is active, or none of them can pay.
        ModelError
            If no gradient reaches the input.
        """
        repeats = self._evaluator.repeats
        affordable = self._affordable(rows, repeats * (1 + len(losses)))
        asked, kept_rows = select_rows(affordable, points, rows)
        if len(asked) == 0:
            nothing = self._unanswered(points)
            return nothing, [nothing[:, 0]] * len(losses), [torch.zeros_like(points)] * len(losses)
        effective, y = self._evaluator.classifier.effective_logits, self._labels(kept_rows)
        bound = [lambda logits, leaf, loss=loss: loss(effective(logits, y), leaf, kept_rows) for loss in losses]
        logits, values, gradients = self._evaluator.gradients(asked, bound)
        logits = effective(logits, y)
        gradients = [self._cleaned(gradient, self._owners(kept_rows)) for gradient in gradients]
        flat = self._flat(gradients, kept_rows) if self._leaving_flat else None
        self._observe(asked, logits, kept_rows, forwards=repeats, backwards=repeats * len(losses))
        if flat is not None:
            self._let_go(flat)
        return (
            scatter_rows(logits, affordable, torch.nan),
            [scatter_rows(value, affordable, torch.nan) for value in values],
            [scatter_rows(gradient, affordable, 0.0) for gradient in gradients],
        )

    def _owners(self, rows: Tensor | None) -> Tensor:
        return self._active if rows is None else self._active[rows]

    def _labels(self, rows: Tensor | None) -> Tensor:
        return self.y if rows is None else self.y[rows]

    def _affordable(self, rows: Tensor | None, cost: int) -> Bool[Tensor, " m"] | None:
        """Return the rows whose examples can pay `cost` passes for each of their rows; None if all can."""
        if len(self._active) == 0:
            raise SearchEnded
        if self._budget is None:
            return None
        owners = self._owners(rows)
        poor = self.counter.over_budget(self._budget, owners, cost)
        self._record.exhausted |= poor
        if bool(poor[self._active].all()):
            raise SearchEnded
        return ~poor[owners] if bool(poor[owners].any()) else None

    def _unanswered(self, points: Tensor) -> Tensor:
        """Let examples leave that cannot pay, where none of those asked about can; return NaN for logits."""
        self.going_on = None
        self._leave()
        return points.new_full((len(points), self.classes), torch.nan)

    def _cleaned(self, gradient: Tensor, owners: Tensor) -> Tensor:
        """Count zero and non-finite gradients; return the gradient with its non-finite entries at 0."""
        length = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        if bool(((length > 0) & (length < torch.inf)).all()):
            return gradient
        self.counter.gradients(owners, ~gradient.flatten(1).any(1), ~gradient.flatten(1).isfinite().all(1))
        return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)

    def _flat(self, gradients: list[Tensor], rows: Tensor | None) -> Int64[Tensor, " k"] | None:
        """Return the positions of the examples all of whose gradients are exactly zero; None if there are none."""
        some = torch.stack([gradient.flatten(1).any(1) for gradient in gradients]).any(0)
        if bool(some.all()):
            return None
        index = self.index if rows is None else self.index[rows]
        return index[~some & ~torch.isin(index, index[some])].unique()

    def _let_go(self, positions: Tensor) -> None:
        """Let examples leave this view, after those that a call let leave."""
        staying = torch.nonzero(~torch.isin(self.index, positions))[:, 0]
        if len(staying) == len(self.index):
            return
        self.going_on = staying if self.going_on is None else self.going_on[staying]
        self._keep_rows(staying)

    def _observe(self, points: Tensor, logits: Tensor, rows: Tensor | None, *, forwards: int, backwards: int) -> Tensor:
        """Record what a call cost and found, and let examples leave; return the margins."""
        owners = self._owners(rows)
        self.counter.passes(owners, forwards, backwards)
        margin = margins(logits, self._labels(rows))
        if not self._keeping:
            self.going_on = None
            return margin
        if self._record.nearest_candidates:
            size = logits.masked_fill(logits == -torch.inf, 0.0).abs().amax(1)
            self._record.propose_nearest(owners, points, margin, size, self._evaluator.rounding)
        lower = ~(margin >= self.counter.lowest[owners])
        relevant = lower | (margin <= 0) if self._first else lower
        # Whether the others lie in the ball does not matter.
        judged = bool(relevant.any()) and self._propose(relevant, points, margin, rows)
        self.going_on = None
        if judged or self._budget is not None:
            self._leave()
        return margin

    def _propose(self, relevant: Tensor, points: Tensor, margin: Tensor, rows: Tensor | None) -> bool:
        """Record the relevant points that lie in the ball; return whether any was judged."""
        asked = torch.nonzero(relevant)[:, 0]
        found = asked[self.neighbourhood.take(asked if rows is None else rows[asked]).inside(points[asked])]
        points, margin, owners = points[found], margin[found], self._owners(rows)[found]
        self.counter.margins(owners, margin)
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
        """Let examples leave that are done or cannot pay for another call."""
        staying = ~self._record.done(including_broken=self._first)[self._active]
        if bool(staying.all()):
            return
        kept = torch.nonzero(staying)[:, 0]
        self._keep_rows(kept)
        self.going_on = kept

    def _keep_rows(self, kept: Tensor) -> None:
        self._active = self._active[kept]
        self.x, self.y, self.index = self.x[kept], self.y[kept], self.index[kept]
        self.neighbourhood = self.neighbourhood.take(kept)
        if self._on_leave is not None:
            self._on_leave(len(self._record.x) - len(kept))


def select_rows(affordable: Tensor | None, points: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return points and owners of the affordable rows (None: of all)."""
    if affordable is None:
        return points, rows
    owners = torch.arange(len(points), device=points.device) if rows is None else rows
    return points[affordable], owners[affordable]


def scatter_rows(values: Tensor, affordable: Tensor | None, missing: float) -> Tensor:
    """Return values of the affordable rows among all rows, `missing` in the others."""
    if affordable is None:
        return values
    out = values.new_full((len(affordable), *values.shape[1:]), missing)
    out[affordable] = values
    return out
