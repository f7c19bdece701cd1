"""SPSA: projected Adam on gradients estimated from scores along random signs."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from epsball.attacks import losses
from epsball.attacks.black_box.finite_differences import estimate, rademacher
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, NormName
from epsball.attacks.parts.step_size import adam
from epsball.attacks.parts.tensors import box_width
from epsball.ball import Ball
from epsball.checks import check_counts, check_positive
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class SPSA(Attack):
    """Simultaneous perturbation stochastic approximation; needs scores but no gradient.

    A step costs 2 * pairs + 1 forwards.

    Parameters
    ----------
    steps
        Number of steps.
    pairs
        Pairs of points x + delta u, x - delta u per step, u of independent signs.
    delta
        Size of the perturbations, in widths of the box.
    learning_rate
        Adam's step size, in widths of the box.
    loss
        As for `PGD`; the margin is published.

    References
    ----------
    Uesato, O'Donoghue, van den Oord and Kohli, "Adversarial risk and the dangers of evaluating
    against weak attacks", ICML 2018, algorithm 1. Spall (1992).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.SPSA(steps=20, pairs=8, learning_rate=0.05)
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=method).broken
    tensor([True])
    """

    name: ClassVar[str] = "spsa"
    norms: ClassVar[tuple[NormName, ...]] = ("linf", "l2")
    tolerance: ClassVar[float | None] = 0.1
    gradient_free: ClassVar[bool] = True

    steps: int = 100
    pairs: int = 64
    delta: float = 0.01
    learning_rate: float = 0.01
    loss: losses.LossName | losses.Loss = "margin"

    def __post_init__(self) -> None:
        check_counts(self, "steps", "pairs")
        check_positive("delta", self.delta)
        check_positive("learning_rate", self.learning_rate)
        losses.resolve(self.loss)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        loss = losses.resolve(self.loss)
        query.begin(0)
        points, size = query.x, box_width(query.neighbourhood)
        mean, square = torch.zeros_like(points), torch.zeros_like(points)
        for step in range(1, self.steps + 1):
            gradient, kept = estimate(
                query,
                loss,
                points,
                keys.derive(step),
                directions=rademacher,
                scale=self.delta * size,
                pairs=self.pairs,
            )
            points, mean, square, gradient = points[kept], mean[kept], square[kept], gradient[kept]
            mean, square, direction, metric = adam(gradient, mean, square, step)
            points = query.neighbourhood.project(points + self.learning_rate * size * direction / metric)
            query.logits(points)
            if query.going_on is not None:
                points, mean, square = (part[query.going_on] for part in (points, mean, square))
