"""Rounding of pixels to few levels: the gradient is exactly zero."""

from jaxtyping import Float
from torch import Tensor, nn

from epsball.checks import check_count
from epsball.errors import InputError
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front, through


class Rounding(nn.Module):
    """Round pixels of [0, 1] to the nearest of evenly spaced levels: round(x (levels - 1)) / (levels - 1).

    Parameters
    ----------
    levels
        Number of levels, at least 2: 256 is 8 bits per pixel.

    References
    ----------
    Xu, Evans and Qi, "Feature squeezing: detecting adversarial examples in deep neural networks", NDSS 2018,
    section 4.1.

    Examples
    --------
    >>> import torch
    >>> Rounding(levels=5)(torch.tensor([0.1, 0.13, 1.0]))
    tensor([0.0000, 0.2500, 1.0000])
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        check_count("levels", levels)
        if levels < 2:
            raise InputError("levels is 1; pixels are rounded to 2 levels or more.")
        self.levels = levels

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the rounded pixels."""
        return (x * (self.levels - 1)).round() / (self.levels - 1)

    def extra_repr(self) -> str:
        """Return the number of levels."""
        return f"levels={self.levels}"


PAPER = "Xu, Evans and Qi, NDSS 2018; broken by He et al., WOOT 2017"

EIGHT_BITS = Defence(
    name="8-bit-rounding",
    paper=PAPER,
    does="Rounds each pixel to the nearest of 256 levels.",
    masking="shattered",
    base="cifar-standard",
    ball="linf:8/255",
    defend=lambda network: in_front(Rounding(levels=256), network),
    adaptive=through,
)

COARSE = Defence(
    name="coarse-rounding",
    paper=PAPER,
    does="Rounds each pixel to the nearest of 8 levels.",
    masking="shattered",
    base="mnist-standard",
    ball="linf:0.15",
    defend=lambda network: in_front(Rounding(levels=8), network),
    adaptive=through,
)
