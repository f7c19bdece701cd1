"""Builders of published networks whose layout is not one of epsball's reference architectures.

Each is named in a model's text, followed by the published file of weights::

    examples/published.py:resnet2b@resnet2b.pth,mean=0.4914:0.4822:0.4465,std=0.2471:0.2435:0.2616

``cnn_a`` and ``mlp`` load the other published files: ``mlp@mnist_6_100_nat.pth,hidden=100:100:100:100:100``.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def resnet2b() -> nn.Module:
    """Return ResNet-2B (alpha-beta-CROWN, cifar10_resnet/resnet2b.pth), CIFAR-10."""
    return ResNet2b()


def cifar_base_kw() -> nn.Sequential:
    """Return the OVAL "base" network (oval-bab, cifar_base_kw.pth), CIFAR-10.

    Its mean is 0.485:0.456:0.406, its std 0.225 in every channel.
    """
    return _two_convolutions(3, (8, 16), 4, padding=1, hidden=(1024, 100), activation=nn.ReLU)


def cifar_marabou_small() -> nn.Sequential:
    """Return the small Marabou network of VNN-COMP 2021 (cifar_marabou_small.pth), CIFAR-10."""
    return _two_convolutions(3, (8, 16), 4, padding=0, hidden=(576, 128, 64), activation=nn.ReLU)


def cifar_conv_small_sigmoid() -> nn.Sequential:
    """Return the sigmoid network of alpha-beta-CROWN (non_relu/cifar_conv_small_sigmoid.pth), CIFAR-10."""
    return _two_convolutions(3, (16, 32), 4, padding=0, hidden=(1152, 100), activation=nn.Sigmoid)


def mnist_cnn_small() -> nn.Module:
    """Return the small network of auto_LiRPA's examples (mnist_cnn_small.pth), MNIST."""
    return MnistCnnSmall()


def rsl18a(folder: str) -> nn.Sequential:
    """Return the SDP-trained 784-500-10 network of Raghunathan et al. 2018, MNIST.

    Its weights are four numpy files, RSL18a_W1.npy, ... in `folder` (github.com/vtjeng/MIPVerify_data):
    ``examples/published.py:rsl18a,folder=mipverify_data``.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 10))

    def array(name: str) -> Tensor:
        return torch.from_numpy(np.load(Path(folder) / f"RSL18a_{name}.npy", allow_pickle=False)).float()

    state = {
        "1.weight": array("W1").T,
        "1.bias": array("B1"),
        "3.weight": array("W2").T,
        "3.bias": array("B2"),
    }
    model.load_state_dict(state)
    return model


def _two_convolutions(
    channels: int,
    filters: tuple[int, int],
    kernel: int,
    *,
    padding: int,
    hidden: tuple[int, ...],
    activation: type[nn.Module],
) -> nn.Sequential:
    """Return two convolutions of stride 2 and linear layers of the widths `hidden` and 10 classes."""
    layers = [
        nn.Conv2d(channels, filters[0], kernel, stride=2, padding=padding),
        activation(),
        nn.Conv2d(filters[0], filters[1], kernel, stride=2, padding=padding),
        activation(),
        nn.Flatten(),
    ]
    for inputs, outputs in zip(hidden, (*hidden[1:], 10), strict=True):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


class ResNet2b(nn.Module):
    """A stem, two residual blocks without batch normalisation, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.layer1 = nn.Sequential(Block(8, 16, stride=2), Block(16, 16, stride=1))
        self.linear1 = nn.Linear(1024, 100)
        self.linear2 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 10) of images (n, 3, 32, 32)."""
        features = self.layer1(torch.relu(self.conv1(x))).flatten(1)
        return self.linear2(torch.relu(self.linear1(features)))


class Block(nn.Module):
    """relu(shortcut(x) + conv2(relu(conv1(x)))), a 1x1 convolution as shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return torch.relu(self.shortcut(x) + self.conv2(torch.relu(self.conv1(x))))


class MnistCnnSmall(nn.Module):
    """Two 4x4 convolutions of stride 2 and two linear layers, with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 4, stride=2, padding=1)
        self.fc1 = nn.Linear(784, 256)
        self.fc2 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 10) of images (n, 1, 28, 28)."""
        features = torch.relu(self.conv2(torch.relu(self.conv1(x)))).flatten(1)
        return self.fc2(torch.relu(self.fc1(features)))
