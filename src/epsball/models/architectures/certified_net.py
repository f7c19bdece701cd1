"""What the networks of certified training share: convolutions, a hidden layer, batch norm before each ReLU."""

from collections.abc import Sequence

from torch import nn

from epsball.errors import InputError


def certified_net(
    shape: tuple[int, int, int],
    classes: int,
    convolutions: Sequence[tuple[int, int, int]],
    hidden: int,
    batch_norm: bool,
) -> nn.Sequential:
    """Return convolutions of padding 1 and two linear layers.

    Parameters
    ----------
    shape, classes
        (channels, height, width), and the number of logits.
    convolutions
        Filters, side of the kernel and stride of each.
    hidden
        Units of the hidden layer.
    batch_norm
        Whether a batch normalisation stands before each ReLU.

    Raises
    ------
    InputError
        If a layer would have no filter or unit.
    """
    channels, height, width = shape
    if min(hidden, *(filters for filters, _, _ in convolutions)) < 1:
        raise InputError(
            f"layers of {convolutions[0][0]} filters and {hidden} units are asked for; each is at least 1."
        )
    layers: list[nn.Module] = []
    for filters, side, stride in convolutions:
        layers.append(nn.Conv2d(channels, filters, side, stride=stride, padding=1))
        layers += [nn.BatchNorm2d(filters)] if batch_norm else []
        layers.append(nn.ReLU())
        channels = filters
        height, width = ((length + 2 - side) // stride + 1 for length in (height, width))
    layers += [nn.Flatten(), nn.Linear(channels * height * width, hidden)]
    layers += [nn.BatchNorm1d(hidden)] if batch_norm else []
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(hidden, classes))
