"""The states of Auto-PGD's ascents: where each row is, where it goes next, and how its step size adapts."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball.attacks.parts.tensors import column
from epsball.ball import Neighbourhood

ALPHA = 0.75
"""Weight of the gradient step; the rest is momentum."""

RHO = 0.75
"""The step size is halved where fewer than this share of the steps since the last checkpoint raised the loss."""

SHRINK = 1.5
"""In l1: what the number of coordinates and the step size are divided by."""

Rows = TypeVar("Rows", bound="BestPoint | AscentState")


def checkpoints(steps: int) -> list[int]:
    """Return the checkpoints w_j = ceil(p_j steps), at which the step size adapts.

    p_0 = 0, p_1 = 0.22 and p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), here in hundredths.
    """
    places, before, now = [], 0, 22
    while now < 100:
        places.append(-(-now * steps // 100))
        before, now = now, now + max(now - before - 3, 6)
    return places


def _take(state: Rows, rows: Tensor | None) -> Rows:
    """Return some rows of a dataclass whose fields have one row each (None: all of them)."""
    if rows is None:
        return state
    fields = {
        name: value.take(rows) if isinstance(value, Neighbourhood | BestPoint) else value[rows]
        for name, value in vars(state).items()
    }
    return dataclasses.replace(state, **fields)


@dataclass(kw_only=True, eq=False)
class BestPoint:
    """x_max, the point of highest loss so far, one row per start.

    Parameters
    ----------
    points, value, gradient
        The point, its loss and its gradient.
    """

    points: Tensor
    value: Float[Tensor, " n"]
    gradient: Tensor

    @classmethod
    def of(cls, points: Tensor, value: Tensor, gradient: Tensor) -> "BestPoint":
        """Return the start as the best so far."""
        return cls(points=points.clone(), value=value.clone(), gradient=gradient.clone())

    def keep(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take the points of higher loss."""
        better = torch.nonzero(value > self.value)[:, 0]
        self.points.index_copy_(0, better, points[better])
        self.gradient.index_copy_(0, better, gradient[better])
        self.value = torch.maximum(self.value, value)

    def take(self, rows: Tensor | None) -> "BestPoint":
        """Return some of the rows (None: all)."""
        return _take(self, rows)


@dataclass(kw_only=True, eq=False)
class AscentState(ABC):
    """The state of an ascent, one row per start.

    Parameters
    ----------
    points, gradient
        The iterate x_k, and the gradient there.
    best
        x_max.
    step_size
        eta, in units of the ball's norm.
    neighbourhood
        Ball and box around the rows' centres.
    """

    points: Tensor
    gradient: Tensor
    best: BestPoint
    step_size: Float[Tensor, " n"]
    neighbourhood: Neighbourhood

    @abstractmethod
    def next_points(self, step: int) -> Tensor:
        """Return the points to which step number `step` goes."""

    def update(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take losses and gradients at the next points."""
        self.points, self.gradient = points, gradient
        self.best.keep(points, value, gradient)

    @abstractmethod
    def adapt(self, since: int) -> None:
        """Adapt at a checkpoint, `since` steps after the last one."""

    def return_to_best(self, rows: Bool[Tensor, " n"]) -> None:
        """Put some rows back at x_max."""
        self.points = torch.where(column(rows, self.points), self.best.points, self.points)
        self.gradient = torch.where(column(rows, self.points), self.best.gradient, self.gradient)

    def take(self, rows: Tensor | None) -> "AscentState":
        """Return some of the rows (None: all)."""
        return _take(self, rows)


@dataclass(kw_only=True, eq=False)
class AutoPGDState(AscentState):
    """The state of Auto-PGD in linf and l2.

    Parameters
    ----------
    points, gradient, best, step_size, neighbourhood
        As for `AscentState`.
    previous, value
        The iterate before x_k, and the loss at x_k.
    rises
        Steps since the last checkpoint that raised the loss.
    halved, mark
        Whether the last checkpoint halved the step size, and the highest loss there.
    """

    previous: Tensor
    value: Float[Tensor, " n"]
    rises: Int64[Tensor, " n"]
    halved: Bool[Tensor, " n"]
    mark: Float[Tensor, " n"]

    @classmethod
    def begin(
        cls, start: Tensor, value: Tensor, gradient: Tensor, step_size: float, neighbourhood: Neighbourhood
    ) -> "AutoPGDState":
        """Return the state at the start."""
        return cls(
            points=start,
            previous=start,
            value=value,
            gradient=gradient,
            best=BestPoint.of(start, value, gradient),
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

    def update(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take losses and gradients at the next points."""
        self.rises += value > self.value
        self.previous, self.value = self.points, value
        super().update(points, value, gradient)

    def adapt(self, since: int) -> None:
        """Halve the step size and return to x_max where the loss rose too seldom or its maximum has not moved."""
        stuck = ~self.halved & (self.best.value <= self.mark)
        halve = (self.rises < RHO * since) | stuck
        self.step_size = torch.where(halve, self.step_size / 2, self.step_size)
        self.return_to_best(halve)
        self.value = torch.where(halve, self.best.value, self.value)
        self.halved, self.mark = halve, self.best.value
        self.rises = torch.zeros_like(self.rises)


@dataclass(kw_only=True, eq=False)
class L1APGDState(AscentState):
    """The state of l1-APGD, whose steps move as many coordinates as the best point needs.

    Parameters
    ----------
    points, gradient, best, step_size, neighbourhood
        As for `AscentState`.
    changed
        Coordinates in which x_max differed from the centre at the last checkpoint.
    wanted
        k, the number of coordinates that move in a step.
    """

    changed: Float[Tensor, " n"]
    wanted: Float[Tensor, " n"]

    @classmethod
    def begin(cls, start: Tensor, value: Tensor, gradient: Tensor, neighbourhood: Neighbourhood) -> "L1APGDState":
        """Return the state at the start; the first step size is the radius."""
        changed = _changed(start, neighbourhood.x)
        return cls(
            points=start,
            gradient=gradient,
            best=BestPoint.of(start, value, gradient),
            step_size=torch.full_like(value, neighbourhood.radius),
            changed=changed,
            wanted=changed / SHRINK,
            neighbourhood=neighbourhood,
        )

    def next_points(self, step: int) -> Tensor:
        """Return P(x_k + eta s), s the signs of the k largest entries of the gradient, of l1 length 1."""
        size = self.gradient.flatten(1).abs()
        place = self.wanted.long().clamp(min=1)[:, None] - 1
        least = size.sort(dim=1, descending=True).values.gather(1, place)
        signs = torch.where(size >= least, self.gradient.flatten(1).sign(), 0)
        signs *= self.step_size[:, None] / signs.abs().sum(dim=1, keepdim=True).clamp(min=1)
        return self.neighbourhood.project(self.points + signs.view_as(self.points))

    def adapt(self, since: int) -> None:
        """Restart from x_max where it has become sparser by a twentieth; elsewhere take smaller steps."""
        now, radius = _changed(self.best.points, self.neighbourhood.x), self.neighbourhood.radius
        sparser = now / self.changed < 0.95
        self.step_size = torch.where(sparser, radius, (self.step_size / SHRINK).clamp(min=radius / 10))
        self.return_to_best(sparser)
        self.changed, self.wanted = now, now / SHRINK


def _changed(points: Tensor, x: Tensor) -> Tensor:
    return (points != x).flatten(1).sum(dim=1).to(points.dtype)
