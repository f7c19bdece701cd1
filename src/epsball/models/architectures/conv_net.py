"""Small convolutional networks of chosen widths and activation."""

from collections.abc import Callable
from itertools import pairwise

from torch import nn

from epsball.errors import InputError, lookup
from epsball.models.architectures.image_shape import image_shape
from epsball.models.k_winners import KWinnersTakeAll

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "k-wta": KWinnersTakeAll,
}


def conv_net(
    shape: tuple[int, ...],
    classes: int,
    widths: tuple[int, ...] = (16, 32),
    hidden: int = 100,
    activation: str = "relu",
    batch_norm: bool = False,
) -> nn.Sequential:
    """Return 4x4 convolutions of stride 2 and a hidden layer, each followed by the activation.

    With the defaults the network is `cnn_a`.

    Parameters
    ----------
    shape
        (channels, height, width), sides multiples of 2 per convolution.
    classes
        Number of logits.
    widths
        Filters of each convolution, in text ``widths=16:32``.
    hidden
        Units of the hidden layer.
    activation
        ``relu``, ``tanh``, ``gelu``, ``softplus`` or ``k-wta`` (`KWinnersTakeAll`).
    batch_norm
        Whether a batch normalisation stands between each convolution and its activation.
    """
    if not widths or min(*widths, hidden) < 1:
        raise InputError(f"conv_net has widths {widths} and {hidden} hidden units; each is at least 1.")
    step = 2 ** len(widths)
    channels, height, width = image_shape("conv_net", shape, least=step, multiple=step)
    activate = lookup(ACTIVATIONS, activation, "activation")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((channels, *widths)):
        layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))
        layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers.append(activate())
    positions = (height // step) * (width // step)
    layers += [nn.Flatten(), nn.Linear(widths[-1] * positions, hidden), activate(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)
