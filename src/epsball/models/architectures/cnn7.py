"""CNN7, the network of the literature on certified training."""

from torch import nn

from epsball.models.architectures.certified_net import certified_net
from epsball.models.architectures.image_shape import image_shape


def cnn7(
    shape: tuple[int, ...], classes: int, width: int = 64, hidden: int = 512, batch_norm: bool = True
) -> nn.Sequential:
    """Return five 3x3 convolutions, the third of stride 2, and a hidden layer, each with batch norm and ReLU.

    With the defaults 17,192,650 parameters for CIFAR-10, 13,259,338 for MNIST.

    Parameters
    ----------
    shape
        (channels, height, width).
    classes
        Number of logits.
    width, hidden
        Filters of the first two convolutions (then twice as many), and units of the hidden layer.
    batch_norm
        Whether a batch normalisation stands before each ReLU.

    References
    ----------
    Shi et al., "Fast certified robust training with short warmup", NeurIPS 2021; as in Mao, Balauca and Vechev,
    "CTBench: a library and benchmark for certified training", ICML 2025, arXiv:2406.04848.
    """
    channels, height, breadth = image_shape("cnn7", shape, least=2)
    layers = [(width, 3, 1), (width, 3, 1), (2 * width, 3, 2), (2 * width, 3, 1), (2 * width, 3, 1)]
    return certified_net((channels, height, breadth), classes, layers, hidden, batch_norm)
