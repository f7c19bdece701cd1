"""The attack of Carlini and Wagner in linf."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.minimum_norm.carlini_wagner import to_box, to_free
from epsball.attacks.parts.adam import adam
from epsball.attacks.parts.tensors import kept, like, width
from epsball.ball import Ball
from epsball.checks import check_count, check_positive, check_share
from epsball.errors import InputError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class CarliniWagnerLinf:
    """Carlini and Wagner's attack in linf: a threshold that shrinks under a penalty.

    Adam minimises c max(z_y - max_(j != y) z_j + confidence, 0) + sum_i max(abs(x'_i - x_i) / s - tau, 0) over w,
    where x' = (low + high) / 2 + (high - low) / 2 tanh(w) lies in the box and s is its width (without a box w is x'
    itself and s is 1). Each example has its own c and tau. Where both terms are 0, tau falls to `shrink` times the
    distance reached; where `steps` did not bring that about, c doubles; Adam begins anew from there in both cases.
    An example ends when c passes `largest` or tau falls below `least`.

    Parameters
    ----------
    steps
        Adam's most steps for a pair (c, tau), one forward and one backward pass each.
    step_size
        Adam's step.
    constant, largest
        The first and the greatest c.
    threshold, least
        The first and the least tau, shares of the box's width.
    shrink
        By what factor tau falls.
    confidence
        Margin by which a point is to be misclassified before its term is 0.

    References
    ----------
    Carlini and Wagner, "Towards evaluating the robustness of neural networks", IEEE S&P 2017, section VI-C.
    Constants, thresholds and factors are those of the released code, whose 1,000 steps a pair make 100 here.
    """

    steps: int = 100
    step_size: float = 0.005
    constant: float = 1e-5
    largest: float = 20.0
    threshold: float = 1.0
    least: float = 1 / 256
    shrink: float = 0.9
    confidence: float = 0.0
    domain: ClassVar[str] = "box"
    norms: ClassVar[tuple[str, ...]] = ("linf",)

    @property
    def name(self) -> str:
        """The name under which the ledger counts it."""
        return "carlini-wagner-linf"

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        for name in ("step_size", "constant", "largest", "threshold", "least"):
            check_positive(name, getattr(self, name))
        check_share("shrink", self.shrink)
        for low, high in (("constant", "largest"), ("least", "threshold")):
            if getattr(self, low) > getattr(self, high):
                raise InputError(
                    f"{low} is {getattr(self, low)}, above {high}, {getattr(self, high)}; nothing would be searched."
                )
        if self.confidence < 0:
            raise InputError(f"confidence is {self.confidence}; it is at least 0.")

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the standing examples."""
        query.begin(0)
        unit = width(query.neighbourhood)
        w = to_free(query.x, query.neighbourhood).clone()
        mean, square, k = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(query.y)
        c, tau = (torch.full_like(query.natural, first) for first in (self.constant, self.threshold))
        while True:
            rows = torch.nonzero((c <= self.largest) & (tau >= self.least))[:, 0]
            if len(rows) == 0:
                return
            points, slope = to_box(w[rows], query.neighbourhood.take(rows))
            distance, y = ball.distance(points, query.x[rows]) / unit, query.y[rows]
            logits, _, (gradient,) = query.gradient(
                points, [partial(self._penalised, unit, (query.x, query.y, c, tau))], rows
            )
            met = (losses.margin(logits, y) >= self.confidence) & (distance <= tau[rows])
            k[rows] += 1
            failed = ~met & (k[rows] >= self.steps)
            averages = mean[rows], square[rows]
            mean[rows], square[rows], direction, metric = adam(gradient * slope, *averages, like(k[rows], w))
            w[rows] -= self.step_size * direction / metric * like(~met, w)
            tau[rows[met]] = self.shrink * distance[met]
            c[rows[failed]] *= 2
            anew = rows[met | failed]
            mean[anew], square[anew], k[anew] = 0.0, 0.0, 0
            w, mean, square, k, c, tau = kept(query.going_on, w, mean, square, k, c, tau)

    def _penalised(
        self, unit: float, owned: tuple[Tensor, ...], logits: Tensor, points: Tensor, rows: Tensor | None
    ) -> Tensor:
        """Return what Adam minimises, given x, y, c and tau of the standing examples."""
        x, y, c, tau = owned if rows is None else (values[rows] for values in owned)
        penalty = (self.confidence - losses.margin(logits, y)).clamp(min=0)
        excess = ((points - x).abs() / unit - like(tau, points)).clamp(min=0)
        return c * penalty + excess.flatten(1).sum(1)
