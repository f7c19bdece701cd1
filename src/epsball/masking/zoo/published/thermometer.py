"""BRRG18: thermometer codes in front of a network trained on them; broken by gradients through a smooth encoder."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks import Attack
from epsball.checks import check_count
from epsball.classifier import Classifier
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front, through

LEVELS = 16
"""Levels of the paper's CIFAR-10 networks."""


class Thermometer(nn.Module):
    """Encode each pixel as l channels, tau(x)_k = 1 if x > k/l, else 0, for k = 1..l.

    The codes of channel c are the channels c l .. c l + l - 1. The gradient is zero everywhere.

    Parameters
    ----------
    levels
        l.

    References
    ----------
    Buckman, Roy, Raffel and Goodfellow, "Thermometer encoding: one hot way to resist adversarial examples", ICLR 2018,
    section 3, written as by Athalye, Carlini and Wagner, ICML 2018, section 5.1.

    Examples
    --------
    >>> import torch
    >>> Thermometer(levels=10)(torch.tensor([[[[0.66]]]])).flatten()
    tensor([1., 1., 1., 1., 1., 1., 0., 0., 0., 0.])
    """

    def __init__(self, levels: int = LEVELS) -> None:
        super().__init__()
        check_count("levels", levels)
        self.levels = levels

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Return the codes, d = c l."""
        return (self.above(x) > 0).to(x.dtype)

    def above(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Return x - k/l, laid out as the codes."""
        k = torch.arange(1, self.levels + 1, device=x.device, dtype=x.dtype)
        return (x[:, :, None] - (k / self.levels)[:, None, None]).flatten(1, 2)

    def smooth(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Return sigmoid(l (x - k/l)): a code whose every entry moves with the pixel."""
        return torch.sigmoid(self.levels * self.above(x))

    def extra_repr(self) -> str:
        """Return the number of levels."""
        return f"levels={self.levels}"


def smooth_encoder(defended: Classifier) -> Attack:
    """Return the attack with the smooth encoder in the backward pass (Athalye, Carlini and Wagner, section 5.1)."""
    encoder, _ = defended.module.children()
    smooth = encoder.smooth if isinstance(encoder, Thermometer) else None
    return through(defended, smooth)


DEFENCE = Defence(
    name="BRRG18",
    paper="Buckman et al., ICLR 2018; broken by Athalye, Carlini and Wagner, ICML 2018, section 5.1",
    does="Encodes each pixel as a thermometer code of 16 levels and classifies the codes.",
    masking="shattered",
    base="cifar-thermometer",
    ball="linf:8/255",
    defend=lambda network: in_front(Thermometer(), network),
    adaptive=smooth_encoder,
    published=0,
)
