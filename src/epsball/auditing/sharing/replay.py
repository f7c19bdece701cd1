"""An attack that tries points known from other runs, one forward pass each, and may go on from those near a witness."""

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.objective import of_labels
from epsball.attacks.parts.pgd_loop import ascend
from epsball.attacks.parts.starts import given
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import NoGradientError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay(Attack):
    """Evaluate one given point per example, projected into its ball; from those near a witness, ascend by a few steps.

    Parameters
    ----------
    label
        What the ledger calls it.
    points
        The points (n, *shape).
    first
        The position of the first of them among the examples of the call.
    step_sizes
        Steps of PGD on the margin, in radii, from points that are no witnesses yet but near; none by default. K steps
        cost 2 K + 1 passes.
    near
        Near is a margin of at most this share of the example's own.
    """

    label: str
    points: Tensor
    first: int = 0
    step_sizes: tuple[float, ...] = ()
    near: float = 0.0

    def __post_init__(self) -> None:
        check_count("points", len(self.points))

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return self.label

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Try the points of the active examples."""
        query.begin(0)
        start, owners = given(self.points)(query.neighbourhood, keys, query.index - self.first), query.index
        query.logits(start)
        rows = torch.nonzero(query.best()[1] <= self.near * query.natural)[:, 0]
        if not self.step_sizes or not len(rows):
            return
        query.begin(1)
        places = torch.searchsorted(owners, query.index[rows])
        with suppress(NoGradientError):  # The audit's attack says so.
            self._go_on(query.of(rows), start[places], ball)
        query.catch_up()

    def _go_on(self, query: Query, start: Tensor, ball: Ball) -> None:
        """Ascend from points near a witness."""
        loss = of_labels(query, losses.resolve("margin"))

        def evaluate(points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            _, (value,), (gradient,) = query.gradient(points, [loss])
            return value, gradient, query.going_on

        sizes = [float(ball.radius) * size for size in self.step_sizes]
        last, _ = ascend(evaluate, start, query.neighbourhood, sizes)
        query.logits(last)
