"""What `run_of_0_1_0` is about: twelve points and a small network, both made without random numbers."""

import torch

from epsball import Classifier

OPTIONS = {"attack": "pgd,steps=3", "seed": 5}


def classifier():
    """Return a ReLU network of 16 inputs and 3 classes."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.no_grad():
        for factor, parameter in enumerate(network.parameters(), start=1):
            angle = factor * torch.arange(parameter.numel(), dtype=torch.float64) ** 2
            parameter.copy_(0.7 * torch.sin(angle).reshape(parameter.shape))
    return Classifier(network)


def data():
    """Return points and labels, of which every fifth is wrong."""
    x = (torch.arange(12 * 16, dtype=torch.int64) * 37 % 101).reshape(12, 1, 4, 4).float() / 128
    y = classifier().logits(x).argmax(1)
    y[::5] = (y[::5] + 1) % 3
    return x, y
