"""Steps in the geometry of another norm: what an attack loses that confuses norms."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import NORMS, Attack, NormName
from epsball.ball import Ball
from epsball.errors import lookup
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class StepNorm(Attack):
    """An attack that steps in the steepest direction of another norm, scaled to the same length in the ball's.

    Ball, projection and starts stay; only the direction is another, such as the sign of the gradient
    in an l2 ball. For studies of sensitivity: it is not a better attack.

    Parameters
    ----------
    method
        An attack whose steps are the ball's `ascent`.
    norm
        The norm whose direction it takes.
    """

    method: Attack
    norm: NormName

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(NORMS), self.norm, "norm")

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return f"{self.method.name} with {self.norm} steps"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        other = Ball(self.norm, 0, None, None)
        order = query.neighbourhood.norm.order

        def ascent(gradient: Tensor, points: Tensor, low: float, high: float) -> Tensor:
            direction = other.ascent(gradient, points)
            length = torch.linalg.vector_norm(direction, order, dim=1, keepdim=True)
            return direction / length.masked_fill(length == 0, 1.0)

        stepping = copy.copy(query)
        around = query.neighbourhood
        stepping.neighbourhood = replace(around, norm=replace(around.norm, ascent=ascent))  # type: ignore[type-var]
        self.method(stepping, ball, keys=keys)
