"""Adversarial machine learning at scale: batches of clean and one-step adversarial examples."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from epsball.ball import Ball
from epsball.checks import check_weight
from epsball.errors import InputError
from epsball.training.objectives.inner_search import require_radius
from epsball.training.objectives.least_likely_step import towards_least_likely
from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True)
class KGB17(Adversarial):
    """Replace the first k of the m examples of a batch by adversarial ones; weigh those by lambda.

    Loss = (sum over clean of CE(x, y) + lambda * sum over adversarial of CE(x', y)) / (m - k + lambda k),
    x' from `epsball.training.objectives.least_likely_step.towards_least_likely`.

    Parameters
    ----------
    ball
        The largest perturbation set.
    fraction
        k/m, the share of examples replaced, in (0, 1].
    weight
        lambda, at least 0.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "16/255")
    >>> eb.training.resolve("kgb17,weight=1", ball) == eb.training.KGB17(ball=ball, weight=1.0)
    True

    References
    ----------
    Kurakin, Goodfellow and Bengio, "Adversarial machine learning at scale", ICLR 2017, eq. (1)
    (there k/m = 1/2, lambda = 0.3).
    """

    name: ClassVar[str] = "kgb17"

    ball: Ball
    fraction: float = 0.5
    weight: float = 0.3

    def __post_init__(self) -> None:
        require_radius(self.ball)
        check_weight("weight", self.weight)
        if not 0 < self.fraction <= 1:
            raise InputError(f"fraction is {self.fraction!r}; it is the share of examples replaced, in (0, 1].")
        if self.fraction == 1 and self.weight == 0:
            raise InputError("fraction is 1 and weight 0: nothing is left to train on. Give a positive weight.")

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the batch with its first k examples replaced."""
        replaced = context.positions < self._count(context)
        if not bool(replaced.any()):
            return x
        x_adv = towards_least_likely(module, x[replaced], self.ball, context.part(replaced))
        return torch.cat([x_adv, x[~replaced]])

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return m * w_i * CE(x_i, y_i) / (m - k + lambda k): their mean over the batch is the published loss."""
        m, k = context.total, self._count(context)
        weights = torch.where(context.positions < k, self.weight, 1.0) * (m / (m - k + self.weight * k))
        return Losses(examples=weights.to(x_adv) * context.cross_entropy(module(x_adv), y))

    def _count(self, context: Context) -> int:
        return round(self.fraction * context.total)
