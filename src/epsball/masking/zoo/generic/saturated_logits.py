"""Logits so large that softmax and its gradient saturate: by a factor, or by training at a high temperature."""

from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks import PGD, Attack, Ensemble
from epsball.attacks.parts.attack import StagedAttack
from epsball.ball import Ball
from epsball.checks import check_positive
from epsball.classifier import Classifier
from epsball.masking.zoo.defence import Defence


class Scaled(nn.Module):
    """Multiply logits by a number: the cross-entropy's gradient underflows to 0, the prediction stays.

    Examples
    --------
    >>> import torch
    >>> Scaled(1000.0)(torch.tensor([[0.5, 1.0]]))
    tensor([[ 500., 1000.]])
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        check_positive("factor", factor)
        self.factor = factor

    def forward(self, z: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return factor * z."""
        return self.factor * z

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"factor={self.factor:g}"


class MarginFirst(StagedAttack):
    """PGD on the margin, which does not saturate, then `Ensemble`."""

    name = "margin-pgd then ensemble"

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the two attacks."""
        return PGD(steps=50, loss="margin"), Ensemble()


SCALED = Defence(
    name="scaled-logits",
    paper="a known pitfall: Carlini and Wagner, IEEE S&P 2017, section 8.2",
    does="Multiplies the logits by 1,000.",
    masking="vanishing",
    base="cifar-standard",
    ball="linf:8/255",
    defend=lambda network: Classifier(nn.Sequential(network, Scaled(1000.0))),
    adaptive=lambda defended: MarginFirst(),
)

DISTILLED = Defence(
    name="distillation",
    paper="Papernot et al., IEEE S&P 2016; broken by Carlini and Wagner, IEEE S&P 2017",
    does="Is trained on soft labels at temperature 100 and deployed at 1, with logits about 100 times larger.",
    masking="vanishing",
    base="mnist-distilled",
    ball="linf:0.15",
    defend=lambda network: Classifier(network),
    adaptive=lambda defended: MarginFirst(),
)
