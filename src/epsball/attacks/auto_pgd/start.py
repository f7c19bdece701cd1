"""Auto-PGD as published for each norm, and from given points."""

import math

from jaxtyping import Float
from torch import Tensor

from epsball.attacks.auto_pgd.ascent import climb
from epsball.attacks.auto_pgd.ascent_l1 import climb_l1
from epsball.attacks.parts import starts
from epsball.attacks.parts.objective import Walkers
from epsball.ball import Ball
from epsball.randomness import Keys

L1_BALLS = ((3, 0.3), (2, 0.3), (1, 0.4))
"""In l1: radii as multiples of the ball's, and each one's share of the steps."""


def auto_pgd(walkers: Walkers, ball: Ball, keys: Keys, steps: int) -> None:
    """Run Auto-PGD as published for the ball's norm, from its own random start."""
    if ball.norm != "l1":
        neighbourhood = walkers.neighbourhood
        start = starts.surface(neighbourhood, keys, walkers.index)
        climb(walkers, start, neighbourhood, steps, 2 * neighbourhood.radius)
        return
    widest = _widened(ball, L1_BALLS[0][0]).at(walkers.neighbourhood.x)
    points = starts.gaussian(1.0)(widest, keys, walkers.index)
    for (factor, _), share in zip(L1_BALLS, _shares(steps), strict=True):
        if share and len(points):
            neighbourhood = _widened(ball, factor).at(walkers.neighbourhood.x)
            points = climb_l1(walkers, neighbourhood.project(points), neighbourhood, share)


def climb_from(points: Float[Tensor, "m *shape"], walkers: Walkers, steps: int) -> None:
    """Run Auto-PGD in the ball itself from given points, its first step as long as the radius."""
    neighbourhood = walkers.neighbourhood
    if neighbourhood.norm.order == 1:
        climb_l1(walkers, points, neighbourhood, steps)
    else:
        climb(walkers, points, neighbourhood, steps, neighbourhood.radius)


def _widened(ball: Ball, factor: int) -> Ball:
    return Ball(ball.norm, factor * ball.radius, ball.low, ball.high)


def _shares(steps: int) -> list[int]:
    """Return each ball's steps: shares rounded up while one is left for the last, which gets the rest."""
    shares, left = [], steps - 1
    for _, share in L1_BALLS[:-1]:
        shares.append(min(math.ceil(share * steps), left))
        left -= shares[-1]
    return [*shares, left + 1]
