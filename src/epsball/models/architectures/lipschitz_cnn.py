"""A convolutional network of known Lipschitz constant, whose margins are its l2 certificates."""

import math

from torch import nn

from epsball.models.architectures.image_shape import image_shape
from epsball.models.lipschitz_layers import GroupSort, Scale, orthogonal


def lipschitz_cnn(
    shape: tuple[int, ...], classes: int, width: int = 16, hidden: int = 256, scale: float = 16.0
) -> nn.Module:
    """Return two orthogonal convolutions and two orthogonal dense layers, with sorted pairs between them.

    Every layer has Lipschitz constant 1 in l2, so the logits have `scale` and a margin of sqrt(2) scale radius is
    a certificate. Where the resolution is halved, the four pixels of a square become channels.

    Parameters
    ----------
    shape
        (channels, height, width), sides divisible by 4.
    classes
        Number of logits.
    width, hidden
        Channels of the first convolution (of the second 4 width), and of the dense layer; even.
    scale
        The factor on the logits: a loss such as cross-entropy asks for margins of about 1 / scale.

    References
    ----------
    Li, Haque, Anil, Lucas, Grosse and Jacobsen, "Preventing gradient attenuation in Lipschitz constrained
    convolutional networks" (NeurIPS 2019), arXiv:1911.00937.
    """
    channels, height, breadth = image_shape("lipschitz_cnn", shape, least=4)
    places = math.prod(length // 4 for length in (height, breadth))
    return nn.Sequential(
        nn.PixelUnshuffle(2),
        orthogonal(nn.Conv2d(4 * channels, width, 3, padding=1)),
        GroupSort(),
        nn.PixelUnshuffle(2),
        orthogonal(nn.Conv2d(4 * width, 4 * width, 3, padding=1)),
        GroupSort(),
        nn.Flatten(),
        orthogonal(nn.Linear(4 * width * places, hidden)),
        GroupSort(),
        Scale(scale),
        orthogonal(nn.Linear(hidden, classes)),
    )
