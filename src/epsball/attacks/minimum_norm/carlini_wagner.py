"""The attack of Carlini and Wagner in l2."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query, QueryLoss
from epsball.attacks.parts.adam import adam
from epsball.attacks.parts.tensors import kept, width
from epsball.ball import Ball, Neighbourhood
from epsball.checks import check_count, check_positive
from epsball.errors import InputError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """Carlini and Wagner's attack: the nearest adversarial point in l2, by a penalty.

    Adam minimises norm((x' - x) / s)^2 + c max(z_y - max_(j != y) z_j + confidence, 0) over w, where
    x' = (low + high) / 2 + (high - low) / 2 tanh(w) lies in the box and s is its width (without a box w is x'
    itself and s is 1). A search for c by bisection goes around it, per example: c falls where a point was found, and
    rises tenfold, once bounded to the middle, where none was. All steps of every search are run.

    Parameters
    ----------
    searches
        Values of c tried.
    steps
        Adam's steps for each: as many forward and backward passes.
    step_size
        Adam's step.
    constant
        The first c.
    confidence
        Margin by which a point is to be misclassified before the penalty ends.

    References
    ----------
    Carlini and Wagner, "Towards evaluating the robustness of neural networks", IEEE S&P 2017, section V-VI
    (9 searches; 10,000 steps there, 1,000 in most code).
    """

    searches: int = 9
    steps: int = 1000
    step_size: float = 0.01
    constant: float = 1e-3
    confidence: float = 0.0
    domain: ClassVar[str] = "box"
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    @property
    def name(self) -> str:
        """The name under which the ledger counts it."""
        return "carlini-wagner"

    def __post_init__(self) -> None:
        check_count("searches", self.searches)
        check_count("steps", self.steps)
        check_positive("step_size", self.step_size)
        check_positive("constant", self.constant)
        if self.confidence < 0:
            raise InputError(f"confidence is {self.confidence}; it is at least 0.")

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the standing examples."""
        c = torch.full_like(query.y, 0, dtype=query.x.dtype) + self.constant
        below, above = torch.zeros_like(c), torch.full_like(c, torch.inf)
        for search in range(self.searches):
            query.begin(search)
            found, c, below, above = self._minimise(query, c, below, above)
            above = torch.where(found, torch.minimum(above, c), above)
            below = torch.where(found, below, torch.maximum(below, c))
            c = torch.where(above.isinf(), 10 * c, (below + above) / 2)

    def _minimise(self, query: Query, c: Tensor, below: Tensor, above: Tensor) -> tuple[Tensor, ...]:
        """Run Adam for one value of c an example; return which found a point, and c and its bounds of who stands."""
        w = to_free(query.x, query.neighbourhood)
        mean, square, found = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(c, dtype=torch.bool)
        for k in range(1, self.steps + 1):
            points, slope = to_box(w, query.neighbourhood)
            logits, _, (gradient,) = query.gradient(points, [self._penalised(query, c)])
            w, gradient, slope, logits, mean, square, found, c, below, above = kept(
                query.going_on, w, gradient, slope, logits, mean, square, found, c, below, above
            )
            found |= losses.margin(logits, query.y) >= self.confidence
            mean, square, direction, metric = adam(gradient * slope, mean, square, k)
            w = w - self.step_size * direction / metric
        return found, c, below, above

    def _penalised(self, query: Query, c: Tensor) -> QueryLoss:
        x, y, unit = query.x, query.y, width(query.neighbourhood)

        def loss(logits: Tensor, points: Tensor, rows: Tensor | None) -> Tensor:
            own_x, own_y, own_c = (x, y, c) if rows is None else (x[rows], y[rows], c[rows])
            penalty = (self.confidence - losses.margin(logits, own_y)).clamp(min=0)
            return ((points - own_x) / unit).flatten(1).square().sum(1) + own_c * penalty

        return loss


_INNER = 0.999999
"""Points are drawn in this little from the ends of the box, where w is infinite."""


def to_free(x: Tensor, around: Neighbourhood) -> Tensor:
    """Return the w of points x: atanh((2 x - low - high) / (high - low)); x itself without a box."""
    if around.high == torch.inf:
        return x
    return torch.atanh((2 * (x - around.low) / (around.high - around.low) - 1) * _INNER)


def to_box(w: Tensor, around: Neighbourhood) -> tuple[Tensor, Tensor]:
    """Return the points (low + high) / 2 + (high - low) / 2 tanh(w), and their derivatives in w."""
    if around.high == torch.inf:
        return w, torch.ones_like(w)
    t, half = torch.tanh(w), (around.high - around.low) / 2
    return around.clip(around.low + half * (1 + t)), half * (1 - t.square())
