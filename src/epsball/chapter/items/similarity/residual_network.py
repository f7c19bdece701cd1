"""A residual network small enough to be trained in seconds: three stages of two pre-activation blocks."""

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64)
BLOCKS = 2


class Block(nn.Module):
    """Two 3x3 convolutions, each behind batch norm and ReLU, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways."""
        first = torch.relu(self.bn1(x))
        return self.conv2(torch.relu(self.bn2(self.conv1(first)))) + self.shortcut(x)


class ResidualNetwork(nn.Sequential):
    """He et al., "Identity mappings in deep residual networks", ECCV 2016, with 14 layers of weights."""

    def __init__(self, channels: int, classes: int) -> None:
        layers: dict[str, nn.Module] = {"conv1": nn.Conv2d(channels, WIDTHS[0], 3, 1, 1, bias=False)}
        inputs = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, 1):
            for block in range(BLOCKS):
                layers[f"layer{stage}_{block}"] = Block(inputs, width, 2 if stage > 1 and block == 0 else 1)
                inputs = width
        layers |= {"bn": nn.BatchNorm2d(inputs), "relu": nn.ReLU(), "pool": nn.AdaptiveAvgPool2d(1)}
        layers |= {"flatten": nn.Flatten(), "linear": nn.Linear(inputs, classes)}
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
