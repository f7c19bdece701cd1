"""Small networks with the features that confuse a recorder of activations."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A residual block: one ReLU module, used twice, in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


class ResNet(nn.Module):
    """Its modules are registered in another order than they run."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 5)
        self.layer2 = nn.Sequential(Residual(width))
        self.layer1 = nn.Sequential(Residual(width), Residual(width))
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(self.pool(x).flatten(1))


@dataclass
class Parts:
    """An output of two tensors."""

    hidden: Tensor
    logits: Tensor


class Mixed(nn.Module):
    """Dictionaries, tuples and dataclasses between modules."""

    class Pair(nn.Module):
        """Returns a tuple of a tensor and a dictionary."""

        def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor | None]]:
            return 2 * x, {"square": x**2, "none": None}

    class Named(nn.Module):
        """Returns a dataclass."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 4)

        def forward(self, pair: tuple[Tensor, dict[str, Tensor]]) -> Parts:
            return Parts(hidden=pair[0] + pair[1]["square"], logits=self.inner(pair[0]))

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.named = self.Pair(), self.Named()

    def forward(self, x: Tensor) -> Parts:
        return self.named(self.pair(x))


class SequenceFirst(nn.Module):
    """A transformer layer whose rows are its second axis, with a position table without rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.table = nn.Embedding(5, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x) + self.table(torch.arange(5))
        return self.head(self.block(tokens.transpose(0, 1)).mean(0))


class Padded(nn.Module):
    """A transformer encoder with a padding mask, for which the fused path builds nested tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[:, -2:] = True
        return self.head(self.encoder(x, src_key_padding_mask=padding)[:, :-2].mean(1))


class Folded(nn.Module):
    """Tokens folded into the rows, outside them and, once, between them."""

    def __init__(self) -> None:
        super().__init__()
        self.consecutive, self.interleaved = nn.Linear(6, 7), nn.Linear(7, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        out = self.consecutive(x.reshape(n * tokens, width)).reshape(n, tokens, -1).transpose(0, 1)
        out = self.interleaved(out.reshape(tokens * n, -1)).reshape(tokens, n, -1)
        return self.head(out.mean(0))


def seeded(build: type[nn.Module], *args: int, seed: int = 0) -> nn.Module:
    """Return a network with weights from a seed, its batch norms' statistics moved off their start."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(*args)
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, std=0.3)
                nn.init.normal_(part.weight, 1.0, 0.3)
                nn.init.normal_(part.bias, std=0.3)
    return model
