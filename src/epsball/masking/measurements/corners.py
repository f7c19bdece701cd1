"""Corners of the ball that are constant on blocks: where gradients at the example do not point."""

from dataclasses import dataclass
from typing import ClassVar

from epsball.attacks import Attack, Query
from epsball.attacks.parts.starts import block_corners
from epsball.ball import Ball
from epsball.masking.trial import Trial
from epsball.randomness import Keys

DRAWS = 8

SHARE = 0.03
"""Share of the evaluation's passes that may go into it."""

MOST = 64
"""Standing examples, at most."""


@dataclass(frozen=True, kw_only=True)
class Corners:
    """How many standing examples were tried, and how many fell."""

    tried: int
    fell: int


def corners(trial: Trial) -> Corners:
    """Try some corners on standing examples."""
    rows = trial.standing(min(MOST, trial.left(SHARE) // DRAWS))
    fell = trial.attack(StructuredCorners(), rows, name="random corners") if len(rows) else 0
    return Corners(tried=len(rows), fell=fell)


@dataclass(frozen=True, kw_only=True)
class StructuredCorners(Attack):
    """Random corners of the ball whose sign is constant on blocks; no gradient, no memory.

    Parameters
    ----------
    draws
        Corners per example, of four sizes of block in turn.
    """

    name: ClassVar[str] = "random corners"
    gradient_free: ClassVar[bool] = True

    draws: int = DRAWS

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Try the corners of the active examples."""
        query.begin(0)
        for draw in range(self.draws):
            query.logits(block_corners(query.neighbourhood, keys[query.index].derive(draw), draw))
