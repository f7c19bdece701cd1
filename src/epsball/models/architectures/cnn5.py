"""CNN5, a smaller network of the literature on certified training."""

from torch import nn

from epsball.models.architectures.certified_net import certified_net
from epsball.models.architectures.image_shape import image_shape


def cnn5(
    shape: tuple[int, ...], classes: int, width: int = 16, hidden: int = 512, batch_norm: bool = True
) -> nn.Sequential:
    """Return a 3x3 convolution, two 4x4 convolutions of stride 2, and a hidden layer, each with batch norm and ReLU.

    With the defaults 1,068,154 parameters for CIFAR-10, 822,106 for MNIST.

    Parameters
    ----------
    shape
        (channels, height, width), sides multiples of 4.
    classes
        Number of logits.
    width, hidden
        Filters of the first two convolutions (then twice as many), and units of the hidden layer.
    batch_norm
        Whether a batch normalisation stands before each ReLU.

    References
    ----------
    Mao, Balauca and Vechev, "CTBench: a library and benchmark for certified training", ICML 2025, arXiv:2406.04848.
    """
    channels, height, breadth = image_shape("cnn5", shape, least=4, multiple=4)
    return certified_net(
        (channels, height, breadth), classes, [(width, 3, 1), (width, 4, 2), (2 * width, 4, 2)], hidden, batch_norm
    )
