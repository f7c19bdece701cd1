"""The attacks of Carlini and Wagner in l2 and in linf."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query, QueryLoss
from epsball.attacks.parts.attack import Attack, Domain, NormName
from epsball.attacks.parts.step_size import adam
from epsball.attacks.parts.tensors import box_width, column, take_rows
from epsball.ball import Ball, Neighbourhood
from epsball.checks import check_count, check_positive, check_share
from epsball.errors import InputError
from epsball.randomness import Keys

_INNER = 0.999999
"""Points are moved inward by this factor from the ends of the box, where w is infinite."""


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    """Carlini and Wagner's attack: the nearest adversarial point in l2, by a penalty.

    Adam minimises norm((x' - x) / s)^2 + c max(z_y - max_(j != y) z_j + confidence, 0) over w, where
    x' = (low + high) / 2 + (high - low) / 2 tanh(w) lies in the box and s is its width (without a box w is x'
    itself and s is 1). An outer bisection searches c per example: c falls where a point was found; where none was,
    it rises tenfold, or to the middle once it is bounded. All steps of every search are run.

    Parameters
    ----------
    searches
        Values of c tried.
    steps
        Adam's steps per value: one forward and one backward pass each.
    step_size
        Adam's step.
    constant
        The first c.
    confidence
        Margin of misclassification at which the penalty ends.

    References
    ----------
    Carlini and Wagner, "Towards evaluating the robustness of neural networks", IEEE S&P 2017, section V-VI
    (9 searches; 10,000 steps there, 1,000 in most code).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.CarliniWagner(searches=1, steps=30, step_size=0.1, constant=5.0)
    >>> eb.attack(classifier, x, y, eb.Ball("l2", 0.1), method=method, stop="never").distance < 0.6
    tensor([True])
    """

    name: ClassVar[str] = "carlini-wagner"
    domain: ClassVar[Domain] = "box"
    norms: ClassVar[tuple[NormName, ...]] = ("l2",)

    searches: int = 9
    steps: int = 1000
    step_size: float = 0.01
    constant: float = 1e-3
    confidence: float = 0.0

    def __post_init__(self) -> None:
        check_count("searches", self.searches)
        check_count("steps", self.steps)
        check_positive("step_size", self.step_size)
        check_positive("constant", self.constant)
        if self.confidence < 0:
            raise InputError(f"confidence is {self.confidence}; it must be at least 0.")

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        c = torch.full_like(query.y, 0, dtype=query.x.dtype) + self.constant
        below, above = torch.zeros_like(c), torch.full_like(c, torch.inf)
        for search in range(self.searches):
            query.begin(search)
            found, c, below, above = self._minimise(query, c, below, above)
            above = torch.where(found, torch.minimum(above, c), above)
            below = torch.where(found, below, torch.maximum(below, c))
            c = torch.where(above.isinf(), 10 * c, (below + above) / 2)

    def _minimise(self, query: Query, c: Tensor, below: Tensor, above: Tensor) -> tuple[Tensor, ...]:
        """Run Adam for one c per example; return whether it found a point, and c and its bounds, per active example."""
        w = _to_free(query.x, query.neighbourhood)
        mean, square, found = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(c, dtype=torch.bool)
        for k in range(1, self.steps + 1):
            points, slope = _to_box(w, query.neighbourhood)
            logits, _, (gradient,) = query.gradient(points, [self._penalised(query, c)])
            w, gradient, slope, logits, mean, square, found, c, below, above = take_rows(
                query.going_on, w, gradient, slope, logits, mean, square, found, c, below, above
            )
            found |= losses.margin(logits, query.y) >= self.confidence
            mean, square, direction, metric = adam(gradient * slope, mean, square, k)
            w = w - self.step_size * direction / metric
        return found, c, below, above

    def _penalised(self, query: Query, c: Tensor) -> QueryLoss:
        x, y, unit = query.x, query.y, box_width(query.neighbourhood)

        def loss(logits: Tensor, points: Tensor, rows: Tensor | None) -> Tensor:
            own_x, own_y, own_c = (x, y, c) if rows is None else (x[rows], y[rows], c[rows])
            penalty = (self.confidence - losses.margin(logits, own_y)).clamp(min=0)
            return ((points - own_x) / unit).flatten(1).square().sum(1) + own_c * penalty

        return loss


@dataclass(frozen=True, kw_only=True)
class CarliniWagnerLinf(Attack):
    """Carlini and Wagner's attack in linf: a threshold that shrinks under a penalty.

    Adam minimises c max(z_y - max_(j != y) z_j + confidence, 0) + sum_i max(abs(x'_i - x_i) / s - tau, 0) over w,
    where x' = (low + high) / 2 + (high - low) / 2 tanh(w) lies in the box and s is its width (without a box w is x'
    itself and s is 1). Each example has its own c and tau. Where both terms are 0, tau falls to `shrink` times the
    distance reached; where `steps` steps did not achieve that, c doubles. In both cases Adam restarts from there.
    An example ends when c passes `largest` or tau falls below `least`.

    Parameters
    ----------
    steps
        Most steps of Adam per pair (c, tau), one forward and one backward pass each.
    step_size
        Adam's step.
    constant, largest
        The first and the largest c.
    threshold, least
        The first and the least tau, as shares of the box's width.
    shrink
        The factor by which tau falls.
    confidence
        Margin of misclassification from which the term is 0.

    References
    ----------
    Carlini and Wagner, "Towards evaluating the robustness of neural networks", IEEE S&P 2017, section VI-C.
    Constants, thresholds and factors are those of the released code, whose 1,000 steps per pair are 100 here.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.CarliniWagnerLinf(steps=5, step_size=0.1, constant=1.0)
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.1), method=method, stop="never").distance < 0.4
    tensor([True])
    """

    name: ClassVar[str] = "carlini-wagner-linf"
    domain: ClassVar[Domain] = "box"
    norms: ClassVar[tuple[NormName, ...]] = ("linf",)

    steps: int = 100
    step_size: float = 0.005
    constant: float = 1e-5
    largest: float = 20.0
    threshold: float = 1.0
    least: float = 1 / 256
    shrink: float = 0.9
    confidence: float = 0.0

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        for name in ("step_size", "constant", "largest", "threshold", "least"):
            check_positive(name, getattr(self, name))
        check_share("shrink", self.shrink)
        for low, high in (("constant", "largest"), ("least", "threshold")):
            if getattr(self, low) > getattr(self, high):
                raise InputError(
                    f"{low} is {getattr(self, low)}, above {high}, {getattr(self, high)}; the search would be empty."
                )
        if self.confidence < 0:
            raise InputError(f"confidence is {self.confidence}; it must be at least 0.")

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        query.begin(0)
        unit = box_width(query.neighbourhood)
        w = _to_free(query.x, query.neighbourhood).clone()
        mean, square, k = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(query.y)
        c, tau = (torch.full_like(query.natural, first) for first in (self.constant, self.threshold))
        while True:
            rows = torch.nonzero((c <= self.largest) & (tau >= self.least))[:, 0]
            if len(rows) == 0:
                return
            points, slope = _to_box(w[rows], query.neighbourhood.take(rows))
            distance, y = ball.distance(points, query.x[rows]) / unit, query.y[rows]
            logits, _, (gradient,) = query.gradient(
                points, [partial(self._penalised, unit, (query.x, query.y, c, tau))], rows
            )
            met = (losses.margin(logits, y) >= self.confidence) & (distance <= tau[rows])
            k[rows] += 1
            failed = ~met & (k[rows] >= self.steps)
            averages = mean[rows], square[rows]
            mean[rows], square[rows], direction, metric = adam(gradient * slope, *averages, column(k[rows], w))
            w[rows] -= self.step_size * direction / metric * column(~met, w)
            tau[rows[met]] = self.shrink * distance[met]
            c[rows[failed]] *= 2
            restarted = rows[met | failed]
            mean[restarted], square[restarted], k[restarted] = 0.0, 0.0, 0
            w, mean, square, k, c, tau = take_rows(query.going_on, w, mean, square, k, c, tau)

    def _penalised(
        self, unit: float, owned: tuple[Tensor, ...], logits: Tensor, points: Tensor, rows: Tensor | None
    ) -> Tensor:
        """Return what Adam minimises, given x, y, c and tau of the active examples."""
        x, y, c, tau = owned if rows is None else (values[rows] for values in owned)
        penalty = (self.confidence - losses.margin(logits, y)).clamp(min=0)
        excess = ((points - x).abs() / unit - column(tau, points)).clamp(min=0)
        return c * penalty + excess.flatten(1).sum(1)


def _to_free(x: Tensor, around: Neighbourhood) -> Tensor:
    """Return the w of points x: atanh((2 x - low - high) / (high - low)); x itself without a box."""
    if around.high == torch.inf:
        return x
    return torch.atanh((2 * (x - around.low) / (around.high - around.low) - 1) * _INNER)


def _to_box(w: Tensor, around: Neighbourhood) -> tuple[Tensor, Tensor]:
    """Return the points (low + high) / 2 + (high - low) / 2 tanh(w), and their derivatives in w."""
    if around.high == torch.inf:
        return w, torch.ones_like(w)
    t, half = torch.tanh(w), (around.high - around.low) / 2
    return around.clip(around.low + half * (1 + t)), half * (1 - t.square())
