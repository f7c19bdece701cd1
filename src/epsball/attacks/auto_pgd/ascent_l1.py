"""l1-APGD's ascent: steps of as many coordinates as the best point needs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.attacks.auto_pgd.ascent import Best, Objective, column, run
from epsball.ball import Neighbourhood

SHRINK = 1.5
"""The share of coordinates is that of the best point's, divided by this; so is the step size, where it falls."""

CHECK = 0.04
"""The share of the steps after which both are looked at."""


@dataclass(kw_only=True, eq=False)
class SparseClimber:
    """The state of a climb in l1, a row a start; see `epsball.attacks.auto_pgd.ascent.Climber`.

    Parameters
    ----------
    changed
        Coordinates in which the best point differed from the centre at the last look.
    wanted
        k, the number of coordinates that move in a step.
    """

    points: Tensor
    gradient: Tensor
    best: Best
    step_size: Float[Tensor, " n"]
    changed: Float[Tensor, " n"]
    wanted: Float[Tensor, " n"]
    neighbourhood: Neighbourhood

    @classmethod
    def begin(cls, start: Tensor, value: Tensor, gradient: Tensor, neighbourhood: Neighbourhood) -> "SparseClimber":
        """Return the state at the start; the first step size is the radius."""
        changed = _changed(start, neighbourhood.x)
        return cls(
            points=start,
            gradient=gradient,
            best=Best.of(start, value, gradient),
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

    def arrive(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take what was found at the next points."""
        self.points, self.gradient = points, gradient
        self.best.keep(points, value, gradient)

    def look(self, since: int) -> None:
        """Start anew from the best point where it has become sparser by a twentieth; else take smaller steps."""
        now, radius = _changed(self.best.points, self.neighbourhood.x), self.neighbourhood.radius
        sparser = now / self.changed < 0.95
        self.step_size = torch.where(sparser, radius, (self.step_size / SHRINK).clamp(min=radius / 10))
        self.points = torch.where(column(sparser, self.points), self.best.points, self.points)
        self.gradient = torch.where(column(sparser, self.points), self.best.gradient, self.gradient)
        self.changed, self.wanted = now, now / SHRINK


def _changed(points: Tensor, x: Tensor) -> Tensor:
    return (points != x).flatten(1).sum(dim=1).to(points.dtype)


def climb_l1(
    objective: Objective, start: Float[Tensor, "n *shape"], neighbourhood: Neighbourhood, steps: int
) -> Float[Tensor, "m *shape"]:
    """Run l1-APGD in one ball; return, for the rows that are left, the points of highest loss.

    Parameters
    ----------
    objective, start, neighbourhood, steps
        As for `epsball.attacks.auto_pgd.ascent.climb`; the first step size is the radius.

    References
    ----------
    Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers",
    ICML 2021, algorithm 1.
    """
    period = max(int(CHECK * steps), 1)
    return run(
        objective,
        start,
        lambda value, gradient: SparseClimber.begin(start, value, gradient, neighbourhood),
        steps,
        range(period, steps, period),
    )
