"""Networks that are robust by construction: seven kinds, each with a proof of its margins.

docs/judges.md has the proofs. `least` is what a proof says of the margin, at least, in real arithmetic: some 10,000
times what float32 may round.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from epsball.ball import Ball

LEAST = 0.02
"""The margin that biases are set to leave."""

_INPUTS, _CANDIDATES = 16, 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Robust:
    """A network, examples with their classes, a ball, and the least margin that is proved."""

    name: str
    network: nn.Module
    x: Tensor
    y: Tensor
    ball: Ball
    least: float


class Cancelling(nn.Module):
    """z_0 = m + a . (relu(g) - relu(-g) - g), z_1 = 0."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner, self.last = inner, nn.Linear(width, 2)
        self.last.weight.data[1] = 0.0
        self.last.bias.data = torch.tensor([LEAST, 0.0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        g = self.inner(x)
        return self.last(torch.relu(g) - torch.relu(-g) - g)


class Monotone(nn.Module):
    """z_0 - z_1 does not fall with s_i x_i: s meets the first weights, and no weight behind it is negative."""

    def __init__(self, activation: type[nn.Module], *, residual: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(_INPUTS, 32), nn.Linear(32, 32), nn.Linear(32, 2)
        self.activation, self.residual = activation(), residual
        self.signs = torch.randint(2, (_INPUTS,)).float() * 2 - 1
        self.first.weight.data = 3 * self.first.weight.data.abs() * self.signs
        self.second.weight.data.abs_()
        self.last.weight.data = self.last.weight.data.abs() * torch.tensor([[1.0], [-1.0]])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        z = self.activation(self.first(x) - 0.5)
        after = self.activation(self.second(z) - 0.5)
        return self.last(z + after if self.residual else after)


class Convex(nn.Module):
    """z_0 = (h(x + u) + h(x - u)) / 2 + m, z_1 = h(x) for a convex h."""

    def __init__(self, first: nn.Module, second: nn.Module, width: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.second, self.last = first, second, nn.Linear(width, 1)
        for part in (self.second, self.last):
            part.weight.data.abs_()
        self.away = nn.Parameter(0.3 * torch.randn(shape))

    def convex(self, x: Tensor) -> Tensor:
        """Return h(x)."""
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        between = 0.5 * self.convex(x + self.away) + 0.5 * self.convex(x - self.away)
        return torch.cat([between + LEAST, self.convex(x)], dim=1)


class Pooling(nn.Module):
    """z_0 = a . max + m and z_1 = a . mean over all places of the same channels, a >= 0."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        self.most, self.mean = nn.MaxPool2d(side), nn.AvgPool2d(side)
        self.last = nn.Linear(channels, 1, bias=False)
        self.last.weight.data.abs_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        v = torch.relu(self.second(torch.relu(self.first(x))))
        return torch.cat([self.last(self.most(v).flatten(1)) + LEAST, self.last(self.mean(v).flatten(1))], dim=1)


class Bounded(nn.Module):
    """z_0 = w . x + b + a . tanh(...), z_1 = 0: the branch is at most the sum of all abs(a_k)."""

    def __init__(self) -> None:
        super().__init__()
        self.through, self.last = nn.Linear(_INPUTS, 2), nn.Linear(24, 2, bias=False)
        self.branch = nn.Sequential(nn.Linear(_INPUTS, 24), nn.ReLU(), nn.Linear(24, 24), nn.Tanh())
        for part in (self.through, self.last):
            part.weight.data[1] = 0.0
        for part in (self.branch[0], self.branch[2]):
            part.weight.data *= 4
        self.through.bias.data[1] = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.through(x) + self.last(self.branch(x))


class Attending(nn.Module):
    """z_0 the mean of what attention returns of values v_i = w . x_i - t, z_1 = 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries, self.keys, self.value = nn.Linear(width, 6), nn.Linear(width, 6), nn.Linear(width, 1)
        self.last = nn.Linear(1, 2)
        self.last.weight.data, self.last.bias.data = torch.tensor([[1.0], [0.0]]), torch.zeros(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        share = torch.softmax(4 * self.queries(x) @ self.keys(x).transpose(1, 2), dim=2)
        return self.last((share @ self.value(x)).mean(dim=1))


def _norms(name: str, count: int) -> Robust:
    """Choose the examples that a product of norms proves, and the largest radius at which it does."""
    if name.endswith("l2"):
        layers = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)]
        network, shape, norm = nn.Sequential(*layers), (1, 6, 6), "l2"
    else:
        layers = [nn.Linear(_INPUTS, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)]
        network, shape, norm = nn.Sequential(*layers), (_INPUTS,), "linf"
    x = torch.rand(_CANDIDATES, *shape)
    logits = network(x).double()
    first, p = logits.max(dim=1)
    matrices, at = [], torch.zeros(1, *shape)
    for layer in layers:
        if hasattr(layer, "weight"):
            units = torch.eye(at.numel()).view(-1, *at.shape[1:])
            matrices.append((layer(units) - layer(torch.zeros_like(units))).flatten(1).T.double())
        at = layer(at)
    last = matrices.pop()
    reach = torch.full(logits.shape, torch.inf, dtype=torch.float64)
    for j in range(logits.shape[1]):
        rows = last[p] - last[j]
        if norm == "l2":
            constant = rows.norm(dim=1) * matrices[0].norm() * matrices[1].norm()
        else:
            constant = (rows.abs() @ matrices[1].abs() @ matrices[0].abs()).sum(dim=1)
        reach[:, j] = torch.where(p == j, torch.inf, (first - logits[:, j]) / constant)
    least = reach.amin(dim=1)
    chosen = least.argsort(descending=True)[:count]
    radius = Fraction(int(float(least[chosen].min()) * 0.8 * 2**12), 2**12)
    return Robust(name=name, network=network, x=x[chosen], y=p[chosen], ball=Ball(norm, radius), least=float("nan"))


def _everywhere(name: str, network: nn.Module, shape: tuple[int, ...], radius: str, count: int) -> Robust:
    """Take any examples: the margin is at least m everywhere."""
    x = torch.rand(count, *shape)
    return _named(name, network, x, radius, LEAST)


def _named(name: str, network: nn.Module, x: Tensor, radius: str, least: float) -> Robust:
    zeros = torch.zeros(len(x), dtype=torch.int64)
    return Robust(name=name, network=network, x=x, y=zeros, ball=Ball("linf", radius), least=least)


def _above(name: str, network: nn.Module, bias: Tensor, least: Tensor, x: Tensor, radius: str, count: int) -> Robust:
    """Take the examples of greatest proved margin, and lower a bias until the last of them has `LEAST`."""
    chosen = least.argsort(descending=True)[:count]
    bias.data[0] -= (least[chosen[-1]] - LEAST).float()
    return _named(name, network, x[chosen], radius, LEAST * 0.99)


def _monotone(name: str, activation: type[nn.Module], count: int, *, residual: bool = False) -> Robust:
    network, x = Monotone(activation, residual=residual), torch.rand(_CANDIDATES, _INPUTS)
    lowest = (x.double() - 0.125 * network.signs).clamp(0, 1)
    logits = network.double()(lowest)
    network.float()
    return _above(name, network, network.last.bias, logits[:, 0] - logits[:, 1], x, "1/8", count)


def _bounded(name: str, count: int) -> Robust:
    network, x = Bounded(), torch.rand(_CANDIDATES, _INPUTS)
    w, a = network.through.weight[0].double(), network.last.weight[0].double()
    least = x.double() @ w + network.through.bias[0] - 0.1 * w.abs().sum() - a.abs().sum()
    return _above(name, network, network.through.bias, least, x, "1/10", count)


def _attention(name: str, count: int) -> Robust:
    network, x = Attending(6), torch.rand(_CANDIDATES, 4, 6)
    w = network.value.weight[0].double()
    least = (x.double() @ w).amin(dim=1) + network.value.bias[0] - 0.125 * w.abs().sum()
    return _above(name, network, network.value.bias, least, x, "1/8", count)


def _dense_inner() -> nn.Module:
    return nn.Sequential(nn.Linear(_INPUTS, 24), nn.ReLU(), nn.Linear(24, 6))


def _convolutional_inner() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten())


_SQUARE = (1, 6, 6)

NETWORKS: dict[str, Callable[[str, int], Robust]] = {
    "norms, linf": _norms,
    "norms, l2": _norms,
    "cancelling": lambda name, n: _everywhere(name, Cancelling(_dense_inner(), 6), (_INPUTS,), "1/4", n),
    "cancelling, cnn": lambda name, n: _everywhere(name, Cancelling(_convolutional_inner(), 8), _SQUARE, "1/4", n),
    "monotone": lambda name, n: _monotone(name, nn.ReLU, n),
    "monotone, residual": lambda name, n: _monotone(name, nn.ReLU, n, residual=True),
    "monotone, tanh": lambda name, n: _monotone(name, nn.Tanh, n),
    "convex": lambda name, n: _everywhere(
        name, Convex(nn.Linear(_INPUTS, 12), nn.Linear(12, 8), 8, (_INPUTS,)), (_INPUTS,), "1/4", n
    ),
    "convex, cnn": lambda name, n: _everywhere(
        name, Convex(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3), 8, _SQUARE), _SQUARE, "1/4", n
    ),
    "pooling": lambda name, n: _everywhere(name, Pooling(4, 6), _SQUARE, "1/4", n),
    "bounded": _bounded,
    "attention": _attention,
}


def robust(name: str, count: int, seed: int = 0) -> Robust:
    """Return a network of the list with examples."""
    torch.manual_seed(seed)
    with torch.no_grad():
        found = NETWORKS[name](name, count)
    found.network.eval().requires_grad_(False)
    return found
