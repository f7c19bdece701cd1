"""Input-gradient regularisation by double backpropagation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy
from epsball.checks import check_weight
from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True)
class InputGradient(Adversarial):
    """Minimise CE(h(x), y) + weight * ||d CE(h(x), y) / dx||_2^2.

    The squared norm is differentiated again (double backpropagation): a step costs two backward
    passes. In a network whose examples share batch statistics, the gradient of an example also
    contains its effect on the losses of the others.

    Parameters
    ----------
    weight
        lambda in the paper, at least 0.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.resolve("input-gradient,weight=1", None) == eb.training.InputGradient(weight=1.0)
    True

    References
    ----------
    Ross and Doshi-Velez, "Improving the adversarial robustness and interpretability of deep
    neural networks by regularizing their input gradients", AAAI 2018, eq. (6). Drucker and
    Le Cun, "Improving generalization performance using double backpropagation", 1992.
    """

    name: ClassVar[str] = "input-gradient"

    weight: float = 10.0

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the examples themselves."""
        return x

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return CE(h(x_adv), y) + weight * ||d CE(h(x_adv), y) / dx_adv||_2^2."""
        leaf = x_adv.detach().requires_grad_()
        logits = module(leaf)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), leaf, create_graph=True)
        fit, slope = context.cross_entropy(logits, y), gradient.flatten(1).square().sum(1)
        parts = {"natural": fit.detach(), "squared input gradient": slope.detach()}
        return Losses(examples=fit + self.weight * slope, parts=parts)
