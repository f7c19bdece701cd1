"""WideResNet-34-10, the usual large network of the literature on robust training."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from epsball.models.architectures.image_shape import image_shape
from epsball.models.architectures.residual import PreActivationBlock, stage


def wide_resnet_34_10(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return the wide ResNet of depth 34 and widening factor 10.

    For CIFAR-10 46,160,474 parameters. Names of layers and initial values are those of TRADES,
    but for its ``sub_block1``, which takes no part in the forward pass: load such a file with
    ``ignore=sub_block1``.

    Parameters
    ----------
    shape
        (channels, height, width), sides at least 8.
    classes
        Number of logits.

    References
    ----------
    Zagoruyko and Komodakis, Wide residual networks, BMVC 2016, arXiv:1605.07146;
    github.com/yaodongyu/TRADES, models/wideresnet.py.
    """
    channels, _, _ = image_shape("wide_resnet_34_10", shape, least=8)
    return WideResNet34x10(channels, classes)


class WideResNet34x10(nn.Module):
    """See `wide_resnet_34_10`."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.block1 = Stage(16, 160, stride=1)
        self.block2 = Stage(160, 320, stride=2)
        self.block3 = Stage(320, 640, stride=2)
        self.bn1 = nn.BatchNorm2d(640)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(640, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.out_channels * math.prod(layer.kernel_size)
                nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        features = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.pool(self.relu(self.bn1(features))).flatten(1))


class Stage(nn.Module):
    """Five blocks of one width; the published files hold them under ``layer``."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layer = stage(Block, 5, inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d k l"]:
        """Return the stage's output."""
        return self.layer(x)


class Block(PreActivationBlock):
    """The pre-activation block; a wider one has a convolution as its projection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        # Named as in the published files, which could not be loaded otherwise.
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if inputs != outputs else None

    def projection(self) -> nn.Module | None:
        """Return what replaces the identity, or None."""
        return self.convShortcut
