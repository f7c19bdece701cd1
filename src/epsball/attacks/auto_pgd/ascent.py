"""Auto-PGD's ascent as published for each norm, and from given points."""

import math
from collections.abc import Callable, Collection
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from epsball.attacks.auto_pgd.states import AscentState, AutoPGDState, L1APGDState, checkpoints
from epsball.attacks.parts import starts
from epsball.attacks.parts.objective import RowObjective
from epsball.ball import Ball, Neighbourhood
from epsball.randomness import Keys

L1_BALLS = ((3, 0.3), (2, 0.3), (1, 0.4))
"""In l1: radii as multiples of the ball's, and each one's share of the steps."""

PERIOD = 0.04
"""In l1: the share of the steps after which step size and number of coordinates adapt."""


def auto_pgd(objective: RowObjective, ball: Ball, keys: Keys, steps: int) -> None:
    """Run Auto-PGD as published for the ball's norm, from its own random start."""
    if ball.norm != "l1":
        neighbourhood = objective.neighbourhood
        start = starts.surface(neighbourhood, keys, objective.index)
        auto_pgd_ascent(objective, start, neighbourhood, steps, 2 * neighbourhood.radius)
        return
    widest = _widened(ball, L1_BALLS[0][0]).at(objective.neighbourhood.x)
    points = starts.gaussian(1.0)(widest, keys, objective.index)
    for (factor, _), share in zip(L1_BALLS, _shares(steps), strict=True):
        if share and len(points):
            neighbourhood = _widened(ball, factor).at(objective.neighbourhood.x)
            points = l1_apgd_ascent(objective, neighbourhood.project(points), neighbourhood, share)


def auto_pgd_from(points: Float[Tensor, "m *shape"], objective: RowObjective, steps: int) -> None:
    """Run Auto-PGD in the ball itself from given points, its first step as long as the radius."""
    neighbourhood = objective.neighbourhood
    if neighbourhood.norm.order == 1:
        l1_apgd_ascent(objective, points, neighbourhood, steps)
    else:
        auto_pgd_ascent(objective, points, neighbourhood, steps, neighbourhood.radius)


def _widened(ball: Ball, factor: int) -> Ball:
    return Ball(ball.norm, factor * ball.radius, ball.low, ball.high)


def _shares(steps: int) -> list[int]:
    """Return each ball's steps: shares rounded up while one is left for the last ball, which gets the rest."""
    shares, left = [], steps - 1
    for _, share in L1_BALLS[:-1]:
        shares.append(min(math.ceil(share * steps), left))
        left -= shares[-1]
    return [*shares, left + 1]


@runtime_checkable
class Objective(Protocol):
    """What an ascent needs of its objective (see `RowObjective`)."""

    def gradient(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return losses, their gradients, and the rows that go on (None: all of them)."""
        ...

    def value(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return losses, and the rows that go on (None: all of them)."""
        ...


def auto_pgd_ascent(
    objective: Objective,
    start: Float[Tensor, "n *shape"],
    neighbourhood: Neighbourhood,
    steps: int,
    step_size: float,
) -> Float[Tensor, "m *shape"]:
    """Run Auto-PGD in linf or l2; return, for the remaining rows, the points of highest loss.

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
    return _adaptive_ascent(
        objective,
        start,
        lambda value, gradient: AutoPGDState.begin(start, value, gradient, step_size, neighbourhood),
        steps,
        checkpoints(steps),
    )


def l1_apgd_ascent(
    objective: Objective, start: Float[Tensor, "n *shape"], neighbourhood: Neighbourhood, steps: int
) -> Float[Tensor, "m *shape"]:
    """Run l1-APGD in one ball; return, for the remaining rows, the points of highest loss.

    Parameters
    ----------
    objective, start, neighbourhood, steps
        As for `auto_pgd_ascent`; the first step size is the radius.

    References
    ----------
    Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers",
    ICML 2021, algorithm 1.
    """
    period = max(int(PERIOD * steps), 1)
    return _adaptive_ascent(
        objective,
        start,
        lambda value, gradient: L1APGDState.begin(start, value, gradient, neighbourhood),
        steps,
        range(period, steps, period),
    )


def _adaptive_ascent(
    objective: Objective,
    start: Float[Tensor, "n *shape"],
    begin: Callable[[Tensor, Tensor], AscentState],
    steps: int,
    adapting: Collection[int],
) -> Float[Tensor, "m *shape"]:
    """Ascend, and return the best points of the remaining rows.

    Parameters
    ----------
    objective, start, steps
        As for `auto_pgd_ascent`.
    begin
        Maps losses and gradients at the start to the state there.
    adapting
        Numbers of steps after which the state adapts.
    """
    value, gradient, going_on = objective.gradient(start)
    state, last = begin(value, gradient).take(going_on), 0
    for step in range(steps):
        if len(state.points) == 0:
            break
        if step in adapting and step > last:
            state.adapt(step - last)
            last = step
        points = state.next_points(step)
        if step + 1 < steps:
            value, gradient, going_on = objective.gradient(points)
        else:
            value, going_on = objective.value(points)
            gradient = state.gradient
        state.update(points, value, gradient)
        state = state.take(going_on)
    return state.best.points
