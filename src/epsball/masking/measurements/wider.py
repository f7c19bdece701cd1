"""Wider balls around standing examples, up to the whole box."""

from dataclasses import dataclass
from fractions import Fraction

from jaxtyping import Int64
from torch import Tensor

from epsball.attacks import APGD
from epsball.ball import Ball
from epsball.errors import NoGradientError
from epsball.masking.trial import Trial

FACTORS = (2, 4)
"""Radii tried before the whole box, as multiples of the ball's."""

FAR = 256
"""The same where there is no box."""

STEPS, BOX_STEPS = 10, 40

SHARE = 0.05
"""Share of the evaluation's passes that may go into it."""

MOST, FEWEST = 32, 4
"""Standing examples, at most and at least."""

COST = len(FACTORS) * (2 * STEPS + 1) + BOX_STEPS
"""Passes per example, on most models: in the whole box few stand for long."""


@dataclass(frozen=True, kw_only=True)
class Wider:
    """Shares of some standing examples that stand in wider balls too.

    Parameters
    ----------
    tried
        Number of examples.
    standing
        Share that stands, by multiple of the radius.
    unbounded
        Share that stands in the whole box.
    """

    tried: int
    standing: dict[int, float]
    unbounded: float


def wider(trial: Trial) -> Wider | None:
    """Search wider balls around as many standing examples as can be paid; None where those are too few."""
    rows = trial.standing(min(MOST, trial.left(SHARE) // COST))
    if len(rows) < FEWEST:
        return None
    everything = whole_box(trial.ball, trial.x[0].numel())
    standing, left = {}, rows
    try:
        for factor in FACTORS:
            radius = min(factor * trial.ball.radius, everything.radius)
            ball = Ball(trial.ball.norm, radius, everything.low, everything.high)
            left = _standing(trial, left, ball, STEPS)
            standing[factor] = len(left) / len(rows)
        left = _standing(trial, left, everything, BOX_STEPS)
    except NoGradientError:
        return Wider(tried=len(rows), standing=dict.fromkeys(FACTORS, 1.0), unbounded=1.0)
    return Wider(tried=len(rows), standing=standing, unbounded=len(left) / len(rows))


def _standing(trial: Trial, rows: Int64[Tensor, " m"], ball: Ball, steps: int) -> Int64[Tensor, " k"]:
    """Return the rows that a search of another ball leaves standing."""
    if len(rows) == 0:
        return rows
    result = trial.search(APGD(steps=steps, loss="margin"), rows, ball=ball)
    return rows[~result.broken.cpu()]


def whole_box(ball: Ball, size: int) -> Ball:
    """Return the ball of the same norm that reaches everywhere in the box; far away where there is none."""
    if ball.low is None or ball.high is None:
        return Ball(ball.norm, FAR * ball.radius, None, None)
    width = Fraction(ball.high) - Fraction(ball.low)
    across = {"linf": 1, "l2": int(size**0.5) + 1, "l1": size}[ball.norm]
    return Ball(ball.norm, width * across, ball.low, ball.high)
