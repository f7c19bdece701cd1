"""Auto-PGD's ascent in linf and l2: no step size to choose. The attacks of `apgd` are this loop with arguments."""

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from epsball.ball import Neighbourhood

ALPHA = 0.75
"""Weight of the gradient step; the rest is momentum."""

RHO = 0.75
"""With fewer rises of the loss than this share of the steps since the last checkpoint, the step size is halved."""

State = TypeVar("State")
Climbing = TypeVar("Climbing", bound="Climb")


@runtime_checkable
class Objective(Protocol):
    """What a climb ascends (see `epsball.attacks.parts.objective.Walkers`)."""

    def gradient(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return losses, their gradients, and the rows that go on (None: all of them)."""
        ...

    def value(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return losses, and the rows that go on (None: all of them)."""
        ...


@dataclass(kw_only=True, eq=False)
class Best:
    """x_max, the point of highest loss so far, a row a start.

    Parameters
    ----------
    points, value, gradient
        The point, its loss and its gradient.
    """

    points: Tensor
    value: Float[Tensor, " n"]
    gradient: Tensor

    @classmethod
    def of(cls, points: Tensor, value: Tensor, gradient: Tensor) -> "Best":
        """Return the start as the best so far."""
        return cls(points=points.clone(), value=value.clone(), gradient=gradient.clone())

    def keep(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take the points of higher loss."""
        better = torch.nonzero(value > self.value)[:, 0]
        self.points.index_copy_(0, better, points[better])
        self.gradient.index_copy_(0, better, gradient[better])
        self.value = torch.maximum(self.value, value)

    def take(self, rows: Tensor) -> "Best":
        """Return that of some of the rows."""
        return taken(self, rows)


@runtime_checkable
class Climb(Protocol):
    """The state of an ascent, a row a start."""

    points: Tensor
    gradient: Tensor
    best: Best

    def next_points(self, step: int) -> Tensor:
        """Return where step number `step` goes."""
        ...

    def arrive(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take what was found there."""
        ...

    def look(self, since: int) -> None:
        """Adapt, `since` steps after the last look."""
        ...


def taken(state: State, rows: Tensor | None) -> State:
    """Return some rows of a dataclass whose fields have a row each (None: all of them)."""
    if rows is None:
        return state
    fields = {
        name: value.take(rows) if isinstance(value, Neighbourhood | Best) else value[rows]
        for name, value in vars(state).items()
    }
    return dataclasses.replace(state, **fields)  # type: ignore[type-var]


def column(values: Shaped[Tensor, " n"], like: Tensor) -> Tensor:
    """Return a value a row, shaped to multiply points."""
    return values.view(-1, *[1] * (like.ndim - 1))


def checkpoints(steps: int) -> list[int]:
    """Return the steps w_j = ceil(p_j steps) after which the step size is looked at.

    p_0 = 0, p_1 = 0.22 and p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), here in hundredths.
    """
    places, before, now = [], 0, 22
    while now < 100:
        places.append(-(-now * steps // 100))
        before, now = now, now + max(now - before - 3, 6)
    return places


@dataclass(kw_only=True, eq=False)
class Climber:
    """The state of a climb, a row a start.

    Parameters
    ----------
    points, previous, value, gradient
        The iterate x_k and the one before, loss and gradient at x_k.
    best
        x_max.
    step_size
        eta, in units of the ball's norm.
    rises
        Steps since the last checkpoint that raised the loss.
    halved, mark
        Whether the last checkpoint halved the step size, and the highest loss there.
    neighbourhood
        Ball and box around the rows' centres.
    """

    points: Tensor
    previous: Tensor
    value: Float[Tensor, " n"]
    gradient: Tensor
    best: Best
    step_size: Float[Tensor, " n"]
    rises: Int64[Tensor, " n"]
    halved: Bool[Tensor, " n"]
    mark: Float[Tensor, " n"]
    neighbourhood: Neighbourhood

    @classmethod
    def begin(
        cls, start: Tensor, value: Tensor, gradient: Tensor, step_size: float, neighbourhood: Neighbourhood
    ) -> "Climber":
        """Return the state at the start."""
        return cls(
            points=start,
            previous=start,
            value=value,
            gradient=gradient,
            best=Best.of(start, value, gradient),
            step_size=torch.full_like(value, step_size),
            rises=torch.zeros_like(value, dtype=torch.int64),
            halved=torch.zeros_like(value, dtype=torch.bool),
            mark=value.clone(),
            neighbourhood=neighbourhood,
        )

    def next_points(self, step: int) -> Tensor:
        """Return x_{k+1} = P(x_k + alpha (z - x_k) + (1 - alpha)(x_k - x_{k-1})), z = P(x_k + eta v_k); x_1 = z."""
        project = self.neighbourhood.project
        direction = self.neighbourhood.ascent(self.gradient, self.points)
        z = project(direction.mul_(column(self.step_size, direction)).add_(self.points))
        if step == 0:
            return z
        momentum = self.points - self.previous
        return project(z.sub_(self.points).mul_(ALPHA).add_(self.points).add_(momentum, alpha=1 - ALPHA))

    def arrive(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take what was found at the next points."""
        self.rises += value > self.value
        self.previous, self.points, self.value, self.gradient = self.points, points, value, gradient
        self.best.keep(points, value, gradient)

    def look(self, since: int) -> None:
        """Halve the step size, and go back to x_max, where the loss rose too seldom or its maximum has not moved."""
        stuck = ~self.halved & (self.best.value <= self.mark)
        halve = (self.rises < RHO * since) | stuck
        self.step_size = torch.where(halve, self.step_size / 2, self.step_size)
        self.points = torch.where(column(halve, self.points), self.best.points, self.points)
        self.gradient = torch.where(column(halve, self.points), self.best.gradient, self.gradient)
        self.value = torch.where(halve, self.best.value, self.value)
        self.halved, self.mark = halve, self.best.value
        self.rises = torch.zeros_like(self.rises)


def climb(
    objective: Objective,
    start: Float[Tensor, "n *shape"],
    neighbourhood: Neighbourhood,
    steps: int,
    step_size: float,
) -> Float[Tensor, "m *shape"]:
    """Run Auto-PGD and return, for the rows that are left, the points of highest loss.

    K steps cost K backwards and K + 1 forwards.

    Parameters
    ----------
    objective
        Gives losses and gradients, and says which rows go on.
    start
        First iterate, in the neighbourhood.
    neighbourhood
        The ball around the centres, one row each.
    steps
        Number of steps K.
    step_size
        First step size, in units of the ball's norm (published: 2 radius).

    References
    ----------
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020, algorithm 1 and section 3.
    """
    return run(
        objective,
        start,
        lambda value, gradient: Climber.begin(start, value, gradient, step_size, neighbourhood),
        steps,
        checkpoints(steps),
    )


def run(
    objective: Objective,
    start: Float[Tensor, "n *shape"],
    begin: Callable[[Tensor, Tensor], Climbing],
    steps: int,
    looks: Collection[int],
) -> Float[Tensor, "m *shape"]:
    """Climb, and return the best points of the rows that are left.

    Parameters
    ----------
    objective, start, steps
        As for `climb`.
    begin
        Maps losses and gradients at the start to the state there.
    looks
        Numbers of steps after which the state adapts.
    """
    value, gradient, going_on = objective.gradient(start)
    state, last = taken(begin(value, gradient), going_on), 0
    for step in range(steps):
        if len(state.points) == 0:
            break
        if step in looks and step > last:
            state.look(step - last)
            last = step
        points = state.next_points(step)
        if step + 1 < steps:
            value, gradient, going_on = objective.gradient(points)
        else:
            value, going_on = objective.value(points)
            gradient = state.gradient
        state.arrive(points, value, gradient)
        state = taken(state, going_on)
    return state.best.points
