"""Randomised smoothing of one sample: Gaussian noise in front of a network, drawn anew at each call."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks import Attack, expectation_over_transformation
from epsball.checks import check_positive
from epsball.classifier import Classifier
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front


class Noise(nn.Module):
    """Add sigma times standard normal noise.

    Examples
    --------
    >>> import torch
    >>> Noise(sigma=0.1)(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        check_positive("sigma", sigma)
        self.sigma = sigma

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return x + sigma * noise."""
        return x + self.sigma * torch.randn_like(x)

    def extra_repr(self) -> str:
        """Return sigma."""
        return f"sigma={self.sigma:g}"


def _averaged(defended: Classifier) -> Attack:
    return expectation_over_transformation("pgd,steps=40,loss=margin", samples=20)


DEFENCE = Defence(
    name="noise",
    paper="Cohen, Rosenfeld and Kolter, ICML 2019, whose certificate needs many samples; one gives none",
    does="Adds Gaussian noise of sigma 0.1 to each image, once per call.",
    masking="stochastic",
    base="mnist-standard",
    ball="linf:0.15",
    defend=lambda network: in_front(Noise(sigma=0.1), network, stochastic=True),
    adaptive=_averaged,
)
