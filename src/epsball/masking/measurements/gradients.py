"""What the gradients at some correct examples are worth."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.attacks import Attack, Query
from epsball.attacks.adaptive import GradientFacts, gradient_facts
from epsball.ball import Ball
from epsball.masking.trial import Trial
from epsball.randomness import Keys

SHARE = 0.12
"""Share of the evaluation's passes that may go into it."""

MOST = 48
"""Examples, at most."""

FEWEST = 8
"""Examples below which nothing is said."""

COST = 21
"""Passes per example."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradients:
    """Facts about gradients, and the examples they are about.

    Parameters
    ----------
    rows
        The examples.
    facts
        Of `epsball.attacks.adaptive.gradient_facts`, one entry per example.
    """

    rows: Int64[Tensor, " m"]
    facts: GradientFacts

    @property
    def useless(self) -> float:
        """Share of the examples where the gradient is zero, not finite or misleading."""
        return float(self.facts.broken.double().mean())


def gradients(trial: Trial) -> Gradients | None:
    """Return the facts at as many correct examples as can be paid; None where those are too few, or noise.

    In a random model the differences that gradients are compared with are those of its draws.
    """
    if trial.random:
        return None
    most = min(MOST, trial.left(SHARE) // COST)
    rows = trial.rows(trial.correct, most)
    if len(rows) < FEWEST:
        return None
    look = _Look()
    trial.search(look, rows, stop="never", notes=True)
    return Gradients(rows=rows, facts=_joined(look.found))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Look(Attack):
    """Not a search: notes the facts at the examples."""

    name: ClassVar[str] = "gradient facts"

    found: list[GradientFacts] = field(default_factory=list)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        self.found.append(gradient_facts(query, keys))


def _joined(parts: list[GradientFacts]) -> GradientFacts:
    columns = {
        name: torch.cat([getattr(part, name) for part in parts]).cpu()
        for name in ("zero", "bad", "saturated", "near", "far", "steep")
    }
    return GradientFacts(**columns, absent=any(part.absent for part in parts))
