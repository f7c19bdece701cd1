"""Small trained networks on the digits, shipped with the tests."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from epsball import data, models
from epsball.masking.zoo.published.pixel_cnn import PixelCNN

WEIGHTS = Path(__file__).parent / "weights"


def load(module: nn.Module, name: str) -> nn.Module:
    """Return the module with the shipped weights of a name."""
    stored = {key: value.float() for key, value in load_file(WEIGHTS / f"{name}.safetensors").items()}
    module.load_state_dict(stored)
    return module.eval()


@pytest.fixture(scope="session")
def digits():
    """Return 40 test digits that the plain network classifies correctly."""
    x, y = data.load("digits")[:80]
    plain = load(models.load("conv_net", shape=(1, 8, 8), classes=10).module, "digits")
    with torch.no_grad():
        right = plain(x).argmax(1) == y
    return x[right][:40], y[right][:40]


@pytest.fixture(scope="session")
def networks():
    """Return networks and a prior trained on the digits, by name."""

    def conv(name, text="conv_net", channels=1):
        return load(models.load(text, shape=(channels, 8, 8), classes=10).module, name)

    return {
        "digits": conv("digits"),
        "k-wta": conv("k-wta", "conv_net,activation=k-wta"),
        "thermometer": conv("thermometer", channels=16),
        "prior": load(PixelCNN(values=17, width=32), "prior"),
    }
