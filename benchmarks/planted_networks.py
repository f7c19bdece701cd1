"""Networks with planted counterexamples: trained so that a point of each ball is misclassified and PGD misses it.

After SoundnessBench, with a generator of our own. For each example (x, y) a point x + d near a corner of its ball and
another class t are drawn. The loss pulls x + d to t and pushes everything else of the ball that gradients find to y:

    max(0, m + z_y - z_t)(x + d)  +  max over found x' of max(0, m + max_j z_j - z_y)(x'),

where x' are the ends of PGD at the present weights and at some weights before, so that what was mended stays mended.

References
----------
Zhou et al., "Testing neural network verifiers: a soundness benchmark with hidden counterexamples" (2024).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from epsball.ball import Ball

MARGIN = 0.05
"""m of the loss."""

CLASSES = 3

LEAST = 1e-3
"""What a planted point's margin is below 0 at least, in float32: far more than rounding."""

KEPT, STEPS = 64, 10
"""Earlier searches whose ends stay in the loss, and steps of each search. With 8 of them, PGD finds most points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """A network with examples, and for each a point of its ball that the network gives another class."""

    name: str
    network: nn.Module
    x: Tensor
    y: Tensor
    ball: Ball
    points: Tensor


class Tokens(nn.Module):
    """Attention over four tokens, and two linear layers over what it returns and the tokens."""

    def __init__(self, width: int, inner: int, classes: int) -> None:
        super().__init__()
        self.queries, self.keys, self.values = (nn.Linear(width, inner) for _ in range(3))
        self.joined, self.last = nn.Linear(4 * (inner + width), 128), nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        query, key, value = self.queries(x), self.keys(x), self.values(x)
        share = torch.softmax(query @ key.transpose(1, 2), dim=2)
        return self.last(torch.relu(self.joined(torch.cat([share @ value, x], dim=2).flatten(1))))


class Blocks(nn.Module):
    """Residual blocks of linear layers."""

    def __init__(self, inputs: int, width: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.stem, self.last = nn.Linear(inputs, width), nn.Linear(width, classes)
        self.first, self.second = (nn.ModuleList(nn.Linear(width, width) for _ in range(blocks)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        z = torch.relu(self.stem(x))
        for first, second in zip(self.first, self.second, strict=True):
            z = torch.relu(z + second(torch.relu(first(z))))
        return self.last(z)


def _mlp(inputs: int, width: int, activation: type[nn.Module] = nn.ReLU, second: int = 32) -> nn.Module:
    hidden = (nn.Linear(inputs, width), activation(), nn.Linear(width, second), activation())
    return nn.Sequential(*hidden, nn.Linear(second, CLASSES))


def _cnn(channels: int, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    convolutions = (
        *(nn.Conv2d(1, channels, 3, padding=1), activation()),
        *(nn.Conv2d(channels, channels, 3, stride=2, padding=1), activation()),
    )
    last = (nn.Linear(9 * channels, 96), activation(), nn.Linear(96, CLASSES))
    return nn.Sequential(*convolutions, nn.Flatten(), *last)


def _steeper(network: nn.Module) -> nn.Module:
    """Return a network with larger weights: near 0 tanh is a line, on which nothing can be hidden."""
    for part in network.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            part.weight.data *= 3
    return network


NETWORKS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module], str]] = {
    "mlp": ((24,), lambda: _mlp(24, 128), "linf:1/8"),
    "mlp, more inputs": ((36,), lambda: _mlp(36, 128), "linf:1/10"),
    "mlp, wide": ((30,), lambda: _mlp(30, 192, second=64), "linf:1/8"),
    "cnn": ((1, 6, 6), lambda: _cnn(8), "linf:1/10"),
    "cnn, wide": ((1, 6, 6), lambda: _cnn(12), "linf:1/8"),
    "residual": ((24,), lambda: Blocks(24, 64, 2, CLASSES), "linf:1/8"),
    "residual, wide": ((32,), lambda: Blocks(32, 96, 1, CLASSES), "linf:1/10"),
    "tanh": ((24,), lambda: _steeper(_mlp(24, 192, nn.Tanh)), "linf:1/8"),
    "tanh, cnn": ((1, 6, 6), lambda: _steeper(_cnn(8, nn.Tanh)), "linf:1/10"),
    "attention": ((4, 6), lambda: Tokens(6, 8, CLASSES), "linf:1/8"),
    "attention, wide": ((4, 8), lambda: Tokens(8, 12, CLASSES), "linf:1/8"),
}


def planted(name: str, count: int, epochs: int, seed: int = 0) -> Planted:
    """Return a network of the list, trained, with those examples whose planted point is verified."""
    shape, build, text = NETWORKS[name]
    torch.manual_seed(seed)
    network, ball = build(), Ball.parse(text)
    radius = float(ball.radius)
    x, y = _examples(shape, count)
    target = (y + torch.randint(1, CLASSES, (count,))) % CLASSES
    signs = torch.randint(2, x.shape).float() * 2 - 1
    points = ball.project(x + radius * signs * (0.95 + 0.05 * torch.rand(x.shape)), x)
    _train(network, x, y, points, target, radius, epochs)
    network = network.eval().requires_grad_(False)
    sound = _margin(network(points), y) < -LEAST
    sound &= network(x).argmax(dim=1) == y
    sound &= ball.contains(points, x)
    return Planted(name=name, network=network, x=x[sound], y=y[sound], ball=ball, points=points[sound])


def _examples(shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    """Return examples of classes that a linear function tells apart: the farthest from its boundaries of many."""
    x = 0.25 + 0.5 * torch.rand(40 * count, *shape)
    z = (x.flatten(1) - 0.5) @ torch.randn(x[0].numel(), CLASSES)
    first, second = z.topk(2, dim=1).values.unbind(1)
    chosen = (first - second).argsort(descending=True)[:count]
    return x[chosen], z[chosen].argmax(dim=1)


def _train(
    network: nn.Module, x: Tensor, y: Tensor, points: Tensor, target: Tensor, radius: float, epochs: int
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs)
    kept: deque[Tensor] = deque(maxlen=KEPT)
    for epoch in range(epochs):
        share = min(1.0, 2 * epoch / epochs)
        kept.append(_searched(network, x, y, share * radius))
        optimiser.zero_grad()
        hidden, others = network(points), network(torch.cat([x, *kept]))
        labels = y.repeat(1 + len(kept))
        loss = _hinge(-_margin_to(hidden, y, target))
        spread = _hinge(_margin(others, labels)).view(1 + len(kept), -1)
        (loss.mean() + spread[:2].mean() + spread.amax(dim=0).mean()).backward()
        optimiser.step()
        schedule.step()


def _searched(network: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Return the ends of PGD from random starts."""
    step = 2.5 * radius / STEPS
    away = radius * (2 * torch.rand_like(x) - 1)
    for _ in range(STEPS):
        away.requires_grad_(True)
        [gradient] = torch.autograd.grad(_margin(network((x + away).clamp(0, 1)), y).sum(), away)
        away = (away.detach() - step * gradient.sign()).clamp(-radius, radius)
    return (x + away).clamp(0, 1).detach()


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return z_y - max over j != y of z_j."""
    own = logits.gather(1, y.unsqueeze(1))[:, 0]
    return own - logits.scatter(1, y.unsqueeze(1), -torch.inf).amax(dim=1)


def _margin_to(logits: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """Return z_y - z_t."""
    return logits.gather(1, y.unsqueeze(1))[:, 0] - logits.gather(1, other.unsqueeze(1))[:, 0]


def _hinge(margins: Tensor) -> Tensor:
    return (MARGIN - margins).clamp(min=0)
