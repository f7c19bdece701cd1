"""What the residual networks share: the pre-activation block, and a stage of blocks."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn


def stage(
    block: Callable[[int, int, int], nn.Module], blocks: int, inputs: int, width: int, stride: int, expansion: int = 1
) -> nn.Sequential:
    """Return blocks of one width, of `expansion` times as many channels; the first changes the shape."""
    rest = (block(expansion * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(inputs, width, stride), *rest)


class PreActivationBlock(nn.Module):
    """x + conv2(relu(bn2(conv1(a)))), a = relu(bn1(x)); where the shape changes, projection(a) replaces x.

    A subclass makes the projection, under the name that published files give it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.relu = nn.ReLU()

    def projection(self) -> nn.Module | None:
        """Return what replaces the identity, or None."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d k l"]:
        """Return the block's output."""
        activated = self.relu(self.bn1(x))
        projection = self.projection()
        shortcut = x if projection is None else projection(activated)
        return shortcut + self.conv2(self.relu(self.bn2(self.conv1(activated))))
