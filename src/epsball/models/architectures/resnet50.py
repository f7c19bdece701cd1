"""ResNet-50 for small images."""

from jaxtyping import Float
from torch import Tensor, nn

from epsball.models.architectures.image_shape import image_shape
from epsball.models.architectures.residual import stage

EXPANSION = 4
"""Output channels of a block per channel of its 3x3 convolution."""


def resnet50(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return the ResNet of 50 layers with a 3x3 stem and no max-pool, as used on 32x32 images.

    For CIFAR-10 23,520,842 parameters. Names of layers are those of
    github.com/kuangliu/pytorch-cifar.

    Parameters
    ----------
    shape
        (channels, height, width), sides at least 8.
    classes
        Number of logits.

    References
    ----------
    He et al., Deep residual learning for image recognition, CVPR 2016, arXiv:1512.03385.
    """
    channels, _, _ = image_shape("resnet50", shape, least=8)
    return ResNet50(channels, classes)


class ResNet50(nn.Module):
    """See `resnet50`."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = stage(Bottleneck, 3, 64, 64, stride=1, expansion=EXPANSION)
        self.layer2 = stage(Bottleneck, 4, 256, 128, stride=2, expansion=EXPANSION)
        self.layer3 = stage(Bottleneck, 6, 512, 256, stride=2, expansion=EXPANSION)
        self.layer4 = stage(Bottleneck, 3, 1024, 512, stride=2, expansion=EXPANSION)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(2048, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        features = self.layer1(self.relu(self.bn1(self.conv1(x))))
        features = self.layer4(self.layer3(self.layer2(features)))
        return self.linear(self.pool(features).flatten(1))


class Bottleneck(nn.Module):
    """relu(shortcut(x) + f(x)), f being 1x1, 3x3 and 1x1 convolutions with batch normalisation."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d k l"]:
        """Return the block's output."""
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.relu(self.bn2(self.conv2(branch)))
        return self.relu(self.shortcut(x) + self.bn3(self.conv3(branch)))
