"""Small models, plain and broken, for the tests."""

import torch
from torch import Tensor, nn


def mlp(inputs: int = 16, hidden: int = 32, classes: int = 4, seed: int = 0) -> nn.Sequential:
    """Return a small ReLU network with weights fixed by the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def convnet(seed: int = 0, classes: int = 4) -> nn.Sequential:
    """Return a small convolutional network with batch norm and dropout for (n, 1, 8, 8)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(64, classes),
        )


def linear(weight: Tensor, bias: Tensor) -> nn.Sequential:
    """Return flatten and one linear layer with these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0]).to(weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return nn.Sequential(nn.Flatten(), layer)


class Wrapped(nn.Module):
    """A module made of a function of (module, x)."""

    def __init__(self, function, module: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.inner = function, module

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.inner, x)


class Counter:
    """Counts the rows that pass a module, by a forward hook."""

    def __init__(self, module: nn.Module) -> None:
        self.rows = 0
        module.register_forward_hook(self._count)

    def _count(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self.rows += len(args[0])


def examples(n: int = 40, shape: tuple[int, ...] = (16,), classes: int = 4, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return pixels in [0, 1] and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *shape, generator=generator)
    return x, torch.randint(classes, (n,), generator=generator)
