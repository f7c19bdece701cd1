"""NES: projected gradient ascent on gradients estimated from scores along Gaussian directions."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.black_box.finite_differences import estimate, gaussian
from epsball.attacks.engine.query import Query
from epsball.attacks.parts import step_size as rules
from epsball.attacks.parts.attack import Attack, NormName
from epsball.attacks.parts.pgd_loop import ascend
from epsball.attacks.parts.tensors import box_width
from epsball.ball import Ball
from epsball.checks import check_counts, check_positive
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class NES(Attack):
    """Natural evolution strategies: the PGD loop on an estimated gradient; needs scores but no gradient.

    A step costs 2 * pairs + 1 forwards.

    Parameters
    ----------
    steps
        Number of steps.
    pairs
        Antithetic pairs x + sigma u, x - sigma u per step, u standard normal.
    sigma
        Scale of the search, in widths of the box.
    step_size, loss
        As for `PGD`; cross-entropy is published.

    References
    ----------
    Ilyas, Engstrom, Athalye and Lin, "Black-box adversarial attacks with limited queries and
    information", ICML 2018, algorithm 1 and section 2.2 (50 points per step, sigma 0.001).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.NES(steps=10)).broken
    tensor([True])
    """

    name: ClassVar[str] = "nes"
    norms: ClassVar[tuple[NormName, ...]] = ("linf", "l2")
    tolerance: ClassVar[float | None] = 0.2
    gradient_free: ClassVar[bool] = True

    steps: int = 100
    pairs: int = 25
    sigma: float = 0.001
    step_size: rules.StepSize = rules.DEFAULT
    loss: losses.LossName | losses.Loss = "cross-entropy"

    def __post_init__(self) -> None:
        check_counts(self, "steps", "pairs")
        check_positive("sigma", self.sigma)
        losses.resolve(self.loss)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        loss = losses.resolve(self.loss)
        step = 0

        def evaluate(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            nonlocal step
            step += 1
            y, gradient = query.y, torch.zeros_like(points)
            value = loss(query.logits(points), y)
            on = torch.arange(len(points), device=points.device) if query.going_on is None else query.going_on
            gradient[on], kept = estimate(
                query,
                loss,
                points[on],
                keys.derive(step),
                directions=gaussian,
                scale=self.sigma * box_width(query.neighbourhood),
                pairs=self.pairs,
            )
            return value, gradient, on[kept]

        query.begin(0)
        step_sizes = [rules.step_size(self.step_size, ball, self.steps)] * self.steps
        last, _ = ascend(evaluate, query.x, query.neighbourhood, step_sizes)
        query.logits(last)
