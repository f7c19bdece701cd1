"""PDPGD: primal-dual proximal gradient descent."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain
from epsball.attacks.parts.objective import of_labels
from epsball.attacks.parts.step_size import adam
from epsball.attacks.parts.tensors import box_width, column, take_rows
from epsball.ball import Ball
from epsball.checks import check_count, check_positive
from epsball.randomness import Keys

_WIDEST = math.log(1e6)
"""Logarithm of the largest factor by which the weights of norm and loss differ."""


@dataclass(frozen=True, kw_only=True)
class PDPGD(Attack):
    """Primal-dual proximal gradient descent: the nearest adversarial point in linf, l2 or l1.

    The saddle point of lambda_0 norm(delta) + lambda_1 softplus(m(x + delta)), m = z_y - max_(j != y) z_j,
    over delta in the box and weights (lambda_0, lambda_1) of sum 1. Each step descends the loss by Adam,
    applies the proximal operator of the norm in Adam's metric (a few fixed-point steps), and shifts the
    weights: towards the norm where the point is misclassified, towards the loss where it is not.
    K points are evaluated: K forward, K - 1 backward passes.

    Parameters
    ----------
    steps
        Number of points K, at least 1.
    step_size
        Adam's first step, in widths of the box; the last is a hundredth of it.
    dual_step_size
        First step of the logarithm of lambda_1 / lambda_0; the last is a tenth of it.
    ratio
        lambda_0 / lambda_1 at first.

    References
    ----------
    Matyasko and Chau, "PDPGD: primal-dual proximal gradient descent adversarial attack", 2021
    (arXiv 2106.01538). Kingma and Ba, "Adam", ICLR 2015.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.PDPGD(steps=25)
    >>> eb.attack(classifier, x, y, eb.Ball("l2", 0.1), method=method, stop="never").distance < 0.5
    tensor([True])
    """

    name: ClassVar[str] = "pdpgd"
    domain: ClassVar[Domain] = "box"

    steps: int = 500
    step_size: float = 0.1
    dual_step_size: float = 0.1
    ratio: float = 0.01

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        for name in ("step_size", "dual_step_size", "ratio"):
            check_positive(name, getattr(self, name))

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        query.begin(0)
        loss = of_labels(query, lambda logits, y: functional.softplus(-losses.margin(logits, y)))
        points = query.x
        mean, square = torch.zeros_like(points), torch.zeros_like(points)
        weight = points.new_full((len(points),), -math.log(self.ratio))
        share = torch.sigmoid(weight)
        for k in range(self.steps - 1):
            logits, _, (gradient,) = query.gradient(points, [loss])
            points, gradient, logits, mean, square, weight, share = take_rows(
                query.going_on, points, gradient, logits, mean, square, weight, share
            )
            mean, square, direction, metric = adam(gradient, mean, square, k + 1)
            step = self.step_size * 0.01 ** (k / self.steps)
            moved = query.neighbourhood.clip(points - step * box_width(query.neighbourhood) * direction / metric)
            points = _proximal(query, ball, moved, metric, step * (1 - share) / share)
            unbroken = -losses.margin(logits, query.y).sign()
            pace = self.dual_step_size * (1 - 0.9 * k / max(1, self.steps - 1))
            weight = (weight + pace * unbroken).clamp(-_WIDEST, _WIDEST)
            share = share.lerp(torch.sigmoid(weight), 0.1)
        query.logits(points)


def _proximal(query: Query, ball: Ball, points: Tensor, metric: Tensor, weight: Tensor, most: int = 5) -> Tensor:
    """Return argmin_z weight norm(z - x) + sum_i metric_i (z_i - points_i)^2 / 2 in the box, approximately.

    The published fixed-point steps z <- prox(z - h (z - points)), h being the metric over its largest entry, in
    which the operator is taken; rows that move by less than 1% stop.
    """
    x, largest = query.x, metric.flatten(1).amax(1)
    h = metric / column(largest, metric)
    z, unmet = points, torch.ones_like(largest, dtype=torch.bool)
    for _ in range(most):
        inner = ball.proximal(z - x - h * (z - points), weight / largest)
        following = torch.where(column(unmet, z), query.neighbourhood.clip(x + inner), z)
        moved = torch.linalg.vector_norm((following - z).flatten(1), dim=1)
        unmet = moved >= 0.01 * torch.linalg.vector_norm((following - x).flatten(1), dim=1)
        z = following
        if not bool(unmet.any()):
            break
    return z
