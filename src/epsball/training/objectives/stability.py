"""Stability training: the output at x + noise must agree with the output at x."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from epsball.attacks.losses import unmasked
from epsball.checks import check_positive, check_weight
from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True)
class Stability(Adversarial):
    """Minimise CE(h(x), y) + weight * -sum_j p_j(x) log p_j(x'), x' = x + N(0, sigma^2 I).

    The second term is the cross-entropy of the two outputs; its gradient flows through both. x'
    is random, not adversarial, and is not clipped to the box. Joint batch-norm statistics, as `TRADES`.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, in pixels.
    weight
        alpha in the paper, at least 0.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.resolve("stability,sigma=0.1", None) == eb.training.Stability(sigma=0.1)
    True

    References
    ----------
    Zheng, Song, Leung and Goodfellow, "Improving the robustness of deep neural networks via
    stability training", CVPR 2016, eqs. (1), (7) and (9).
    """

    name: ClassVar[str] = "stability"

    sigma: float = 0.04
    weight: float = 0.01

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)
        check_weight("weight", self.weight)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return x + N(0, sigma^2 I)."""
        return x + self.sigma * context.keys.derive("noise").normal(x.shape[1:], x.dtype)

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return CE(h(x), y) - weight * sum_j p_j(x) log p_j(x_adv)."""
        natural, noisy = module(torch.cat([x, x_adv])).tensor_split(2)
        fit = context.cross_entropy(natural, y)
        instability = -(natural.softmax(1) * unmasked(noisy.log_softmax(1), natural)).sum(1)
        parts = {"natural": fit.detach(), "instability": instability.detach()}
        return Losses(examples=fit + self.weight * instability, parts=parts)
