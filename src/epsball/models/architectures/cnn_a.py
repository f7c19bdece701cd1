"""CNN-A, the small convolutional network of the certified literature."""

from torch import nn

from epsball.models.architectures.image_shape import image_shape


def cnn_a(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return two 4x4 convolutions of stride 2 (16 and 32 filters) and a layer of 100 units, with ReLU.

    For MNIST 166,406 parameters. The entries of its state dict are ``0``, ``2``, ``5`` and
    ``7``, as in the published files.

    Parameters
    ----------
    shape
        (channels, height, width), sides multiples of 4.
    classes
        Number of logits.

    References
    ----------
    Wong and Kolter, Provable defenses via the convex outer adversarial polytope, ICML 2018,
    arXiv:1711.00851.
    """
    channels, height, width = image_shape("cnn_a", shape, least=4, multiple=4)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), 100),
        nn.ReLU(),
        nn.Linear(100, classes),
    )
