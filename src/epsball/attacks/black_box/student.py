"""A student: a small smooth network that is taught the logits of another model inside the balls of some examples."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

LEAST_SIDE = 8
"""Images of at least this side get convolutions."""

CHANNELS, WIDTH, POOLED = (32, 64), 128, 8

BATCH, RATE = 256, 2e-3
"""Points per step, and the step size of Adam at first; it falls to 0 along a cosine."""


class Student(nn.Module):
    """Two strided convolutions, or two layers of width 128, with GELU, and a linear map of the input beside them.

    Parameters
    ----------
    shape
        Of one input.
    taught
        (classes,) which logits are taught; the others are -infinity: classes that the model masks.
    centre, spread
        Mean and standard deviation of the inputs' entries.
    """

    taught: Tensor

    def __init__(
        self, shape: tuple[int, ...], taught: Bool[Tensor, " classes"], *, centre: float, spread: float
    ) -> None:
        super().__init__()
        self.register_buffer("taught", taught)
        classes = int(taught.sum())
        self.centre, self.spread = centre, max(spread, 1e-3)
        size = int(torch.Size(shape).numel())
        if len(shape) == 3 and min(shape[1:]) >= LEAST_SIDE:
            self.features = nn.Sequential(
                nn.Conv2d(shape[0], CHANNELS[0], 3, stride=2, padding=1),
                nn.GELU(),
                nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, stride=2, padding=1),
                nn.GELU(),
                nn.AdaptiveAvgPool2d(POOLED) if min(shape[1:]) > 4 * POOLED else nn.Identity(),
                nn.Flatten(),
                nn.LazyLinear(WIDTH),
                nn.GELU(),
            )
        else:
            self.features = nn.Sequential(
                nn.Flatten(), nn.Linear(size, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU()
            )
        self.last = nn.Linear(WIDTH, classes)
        self.beside = (
            nn.Sequential(nn.AdaptiveAvgPool2d(POOLED), nn.Flatten(), nn.LazyLinear(classes))
            if (size > 4096 and len(shape) == 3)
            else nn.Sequential(nn.Flatten(), nn.Linear(size, classes))
        )
        with torch.no_grad():
            self.scores(torch.zeros(1, *shape))  # gives the lazy layers their sizes

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return logits."""
        scores = self.scores(x)
        logits = scores.new_full((len(x), len(self.taught)), -torch.inf)
        logits[:, self.taught] = scores
        return logits

    def scores(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n taught"]:
        """Return the logits that are taught."""
        x = (x - self.centre) / self.spread
        return self.last(self.features(x)) + self.beside(x)


def teach(student: Student, points: Tensor, logits: Tensor, example: Tensor, epochs: int) -> None:
    """Fit a student to logits at points of balls, the change within each ball as much as the level between them.

    With t the logits, x the point's example and s, d the sizes (root mean squares) of t(x) and t(x') - t(x), the
    loss is the mean of

        |f(x) - t(x)|^2 / s^2 + |f(x') - f(x) - (t(x') - t(x))|^2 / d^2:

    a search in the ball needs the second, which the first would drown. The student is fitted to t / s.

    Parameters
    ----------
    student
        What is taught, in place.
    points
        (m, *shape); the first point of each example is the example itself.
    logits
        What the model says of them (m, taught), each row of mean 0.
    example
        The first point of each point's example (m,).
    epochs
        Times that all points are seen.
    """
    level = logits[example.unique()].square().mean().sqrt().clamp_min(torch.finfo(logits.dtype).tiny)
    target = (logits / level).float()
    change = (target - target[example]).square().mean().sqrt().clamp_min(1e-6)
    optimiser = torch.optim.Adam(student.parameters(), lr=RATE)
    steps = epochs * -(-len(points) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(1, steps))
    student.train().requires_grad_(True)
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(len(points), device=points.device).split(BATCH):
                here, own = student.scores(points[rows]), student.scores(points[example[rows]])
                levels = (own - target[example[rows]]).square().mean()
                changes = (here - own - (target[rows] - target[example[rows]])).square().mean()
                optimiser.zero_grad(set_to_none=True)
                (levels + changes / change.square()).backward()
                optimiser.step()
                schedule.step()
    student.eval().requires_grad_(False)
