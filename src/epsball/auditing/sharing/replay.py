"""An attack that tries points known from other runs, one forward pass each, and may go on from them by a few steps."""

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
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay(Attack):
    """Evaluate one given point per example, projected into its ball; from those that stand, ascend by a few steps.

    Parameters
    ----------
    label
        What the ledger calls it.
    points
        The points (n, *shape).
    first
        The position of the first of them among the examples of the call.
    steps
        Steps of PGD on the margin from each point that is not yet a witness; 0 for none. K steps cost 2 K passes.
    """

    label: str
    points: Tensor
    first: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        check_count("points", len(self.points))

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return self.label

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Try the points of the active examples."""
        query.begin(0)
        start = given(self.points)(query.neighbourhood, keys, query.index - self.first)
        owners = query.index
        query.logits(start)
        if not self.steps:
            return
        query.begin(1)
        loss = of_labels(query, losses.resolve("margin"))

        def evaluate(points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            _, (value,), (gradient,) = query.gradient(points, [loss])
            return value, gradient, query.going_on

        left = start[torch.isin(owners, query.index)]
        last, _ = ascend(evaluate, left, query.neighbourhood, [float(ball.radius) / 2] * self.steps)
        query.logits(last)
