"""Adversarial machine learning at scale: batches of clean and one-step adversarial examples."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from epsball.attacks import starts
from epsball.attacks.losses import cross_entropy
from epsball.ball import Ball
from epsball.errors import InputError
from epsball.randomness import Keys
from epsball.state import evaluating
from epsball.training.checks import require_radius, require_weight
from epsball.training.inner import maximise, shrunk
from epsball.training.objective import Context, Losses


@dataclass(frozen=True, kw_only=True)
class KGB17:
    """Replace the first k of the m examples of a batch by adversarial ones; weigh those by lambda.

    Loss = (sum over clean of CE(x, y) + lambda * sum over adversarial of CE(x', y)) / (m - k + lambda k),
    x' one step towards the least likely class (its label leaks less than the true one's), of a
    radius drawn for each example: |N(0, radius/2)|, cut off at the radius.

    Parameters
    ----------
    ball
        The largest perturbation set.
    fraction
        k/m, the share of examples replaced, in (0, 1].
    weight
        lambda, at least 0.

    References
    ----------
    Kurakin, Goodfellow and Bengio, "Adversarial machine learning at scale", ICLR 2017, eq. (1)
    (there k/m = 1/2, lambda = 0.3).
    """

    ball: Ball
    fraction: float = 0.5
    weight: float = 0.3

    def __post_init__(self) -> None:
        require_radius(self.ball)
        require_weight("weight", self.weight)
        if not 0 < self.fraction <= 1:
            raise InputError(f"fraction is {self.fraction!r}; it is the share of examples replaced, in (0, 1].")
        if self.fraction == 1 and self.weight == 0:
            raise InputError("fraction is 1 and weight 0: nothing is left to train on. Give a positive weight.")

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return "kgb17"

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the weighted cross-entropy of the mixed batch."""
        return self.losses(module, x, self.search(module, x, y, context), y, context)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the batch with its first k examples replaced."""
        replaced = context.positions < self._count(context)
        if not bool(replaced.any()):
            return x
        return torch.cat([self._one_step(module, x[replaced], context.share, context.keys[replaced]), x[~replaced]])

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return m * w_i * CE(x_i, y_i) / (m - k + lambda k): their mean over the batch is the published loss."""
        m, k = context.total, self._count(context)
        replaced = context.positions < k
        weights = torch.where(replaced, self.weight, 1.0) * (m / (m - k + self.weight * k))
        return Losses(examples=weights.to(x_adv.dtype) * context.cross_entropy(module(x_adv), y))

    def _count(self, context: Context) -> int:
        return round(self.fraction * context.total)

    def _one_step(self, module: nn.Module, x: Tensor, share: float, keys: Keys) -> Tensor:
        ball = shrunk(self.ball, share)
        with evaluating(module), torch.no_grad():
            least_likely = module(x).argmin(1)
        radius = float(ball.radius)
        x_adv = maximise(
            module,
            lambda logits: -cross_entropy(logits, least_likely),
            x,
            ball,
            step_sizes=[radius],
            start=starts.centre,
            keys=keys,
        )
        return ball.at(x).project(x + _truncated(keys, x) * (x_adv - x))


def _truncated(keys: Keys, x: Tensor) -> Tensor:
    """Return |g|, g standard normal of scale 1/2 kept within [-1, 1], one an example, shaped to multiply x."""
    g = 0.5 * math.sqrt(2.0) * torch.erfinv(keys.derive("radius").uniform(()) * math.erf(math.sqrt(2.0)))
    return g.to(x.dtype).view(-1, *(1,) * (x.ndim - 1))
