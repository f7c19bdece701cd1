"""Random resizing and padding in front of a network."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from epsball.attacks import Attack, expectation_over_transformation
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front


class RandomResizing(nn.Module):
    """Shrink the images to a random size and pad them with zeros at a random place, one draw per batch.

    Xie et al. enlarge 299 pixels to 299..330 and pad to 331; the networks here have a fixed input size, so the images
    are shrunk instead.

    Parameters
    ----------
    least
        The smallest size, as a share of the image's, in (0, 1].

    References
    ----------
    Xie et al., "Mitigating adversarial effects through randomization", ICLR 2018, section 3.

    Examples
    --------
    >>> import torch
    >>> RandomResizing()(torch.ones(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, least: float = 0.9) -> None:
        super().__init__()
        if not 0 < least <= 1:
            raise InputError(f"least is {least}; it is a share of the image's size, in (0, 1].")
        self.least = least

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return resized and padded images."""
        height, width = x.shape[2:]
        scale = self.least + (1 - self.least) * float(torch.rand(()))
        h, w = max(1, round(scale * height)), max(1, round(scale * width))
        top, left = int(torch.randint(height - h + 1, ())), int(torch.randint(width - w + 1, ()))
        small = functional.interpolate(x, (h, w), mode="bilinear", align_corners=False)
        return functional.pad(small, (left, width - w - left, top, height - h - top))

    def extra_repr(self) -> str:
        """Return the smallest share."""
        return f"least={self.least:g}"


def _averaged(defended: Classifier) -> Attack:
    return expectation_over_transformation("pgd,steps=40,loss=margin", samples=20)


DEFENCE = Defence(
    name="random-resizing",
    paper="Xie et al., ICLR 2018; broken by Athalye, Carlini and Wagner, ICML 2018",
    does="Shrinks each image to a random size and pads it at a random place.",
    masking="stochastic",
    base="cifar-standard",
    ball="linf:8/255",
    defend=lambda network: in_front(RandomResizing(), network, stochastic=True),
    adaptive=_averaged,
)
