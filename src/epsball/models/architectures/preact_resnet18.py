"""PreActResNet-18 for small images."""

from jaxtyping import Float
from torch import Tensor, nn

from epsball.models.architectures.image_shape import image_shape
from epsball.models.architectures.residual import PreActivationBlock, stage


def preact_resnet18(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return the pre-activation ResNet of 18 layers with a 3x3 stem.

    For CIFAR-10 11,171,146 parameters: the widely used variant without batch normalisation
    after the last block. Names of layers are those of github.com/kuangliu/pytorch-cifar.

    Parameters
    ----------
    shape
        (channels, height, width), sides at least 8.
    classes
        Number of logits.

    References
    ----------
    He et al., Identity mappings in deep residual networks, ECCV 2016, arXiv:1603.05027.
    """
    channels, _, _ = image_shape("preact_resnet18", shape, least=8)
    return PreActResNet18(channels, classes)


class PreActResNet18(nn.Module):
    """See `preact_resnet18`."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.layer1 = stage(Block, 2, 64, 64, stride=1)
        self.layer2 = stage(Block, 2, 64, 128, stride=2)
        self.layer3 = stage(Block, 2, 128, 256, stride=2)
        self.layer4 = stage(Block, 2, 256, 512, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        features = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return self.linear(self.pool(features).flatten(1))


class Block(PreActivationBlock):
    """The pre-activation block; its projection is a sequence of one convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False))

    def projection(self) -> nn.Module | None:
        """Return what replaces the identity, or None."""
        return self.shortcut
