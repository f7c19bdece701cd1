"""The way that plain PGD takes, step by step, and where one long step leads."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from epsball.attacks import Attack, Query, losses
from epsball.attacks.parts import step_size as rules
from epsball.attacks.parts.objective import of_labels
from epsball.attacks.parts.pgd_loop import ascend
from epsball.ball import Ball
from epsball.errors import NoGradientError
from epsball.masking.trial import Trial
from epsball.randomness import Keys

STEPS = 20

SHARE = 0.05
"""Share of the evaluation's passes that may go into it."""

MOST, FEWEST = 24, 6
"""Examples, at most and at least."""

COST = 2 * STEPS + 4
"""Passes per example."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """Losses and margins along PGD's way from the examples themselves, and after one step as long as the radius.

    Parameters
    ----------
    rows
        The examples.
    loss, margin
        Cross-entropy and margin at each iterate (m, steps + 1).
    one_step
        Whether one long step (FGSM) leads to a misclassified point.
    """

    rows: Int64[Tensor, " m"]
    loss: Float64[Tensor, "m k"]
    margin: Float64[Tensor, "m k"]
    one_step: Bool[Tensor, " m"]

    @property
    def last_fails(self) -> Bool[Tensor, " m"]:
        """Whether the last iterate is handled correctly."""
        return self.margin[:, -1] > 0

    @property
    def silent(self) -> Bool[Tensor, " m"]:
        """Whether an iterate before the last is misclassified, and the last is not."""
        return self.last_fails & (self.margin[:, :-1] <= 0).any(1)


def path(trial: Trial) -> Path | None:
    """Return the ways at as many correct examples as can be paid; None where those are too few."""
    rows = trial.rows(trial.correct, min(MOST, trial.left(SHARE) // COST))
    if len(rows) < FEWEST:
        return None
    walk, leap = Walk(steps=STEPS, size=rules.DEFAULT), Walk(steps=1, size="radius")
    try:
        trial.search(walk, rows, stop="never", notes=True)
        trial.search(leap, rows, stop="never", notes=True)
    except NoGradientError:
        return None
    loss, margin = walk.series()
    return Path(rows=rows, loss=loss, margin=margin, one_step=leap.series()[1][:, -1] <= 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk(Attack):
    """PGD on the cross-entropy from the examples, which notes loss and margin at every iterate.

    Parameters
    ----------
    steps
        Number of steps.
    size
        Step size, as for `epsball.attacks.PGD`.
    """

    name: ClassVar[str] = "plain pgd"

    steps: int
    size: rules.StepSize
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Walk from each active example."""
        query.begin(0)
        noted: list[tuple[Tensor, Tensor]] = []
        loss = of_labels(query, losses.cross_entropy)

        def evaluate(points: Tensor) -> tuple[Tensor, Tensor, None]:
            logits, (value,), (gradient,) = query.gradient(points, [loss])
            noted.append((value.double(), -losses.margin(logits.double(), query.y)))
            return value, gradient, None

        sizes = [rules.step_size(self.size, ball, self.steps)] * self.steps
        last, _ = ascend(evaluate, query.x, query.neighbourhood, sizes)
        logits = query.logits(last).double()
        noted.append((losses.cross_entropy(logits, query.y), -losses.margin(logits, query.y)))
        self.seen.append((torch.stack([v for v, _ in noted], 1), torch.stack([m for _, m in noted], 1)))

    def series(self) -> tuple[Tensor, Tensor]:
        """Return losses and margins of all chunks, in order."""
        return torch.cat([v for v, _ in self.seen]).cpu(), torch.cat([m for _, m in self.seen]).cpu()
