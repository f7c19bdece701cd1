"""The shape of the margin around some examples: local linearity, curvature, agreement of neighbours' gradients."""

from dataclasses import dataclass

from epsball.errors import NoGradientError
from epsball.masking.geometry import Surface, curvature, gradient_agreement, local_linearity
from epsball.masking.trial import Trial

STEPS, NEIGHBOURS = 5, 4

SHARE = 0.04
"""Share of the evaluation's passes that may go into it."""

MOST, FEWEST = 8, 4
"""Examples, at most and at least."""

COST = 2 * (2 + STEPS) + 4 * STEPS + 2 * (1 + NEIGHBOURS)
"""Passes per example."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Medians over the examples.

    Parameters
    ----------
    examples
        Number of examples.
    gamma
        The largest departure from the tangent, over the largest first-order change that the norm allows.
    curvature
        Of largest absolute value, between points of the ball, in units of the margin per squared distance.
    cosine, signs
        Of the gradients at neighbours and at the example.
    """

    examples: int
    gamma: float
    curvature: float
    cosine: float
    signs: float


def shape(trial: Trial) -> Shape | None:
    """Return the shape at as many correct examples as can be paid; None where those are too few."""
    repeats = trial.classifier.repetitions if trial.classifier.stochastic else 1
    rows = trial.rows(trial.correct, min(MOST, trial.left(SHARE) // (COST * repeats)))
    if len(rows) < FEWEST:
        return None
    surface = Surface.of(trial.classifier, trial.x[rows], trial.y[rows], "margin")
    keys = trial.keys(rows, "shape")
    try:
        line = local_linearity(surface, trial.ball, keys, steps=STEPS, restarts=1)
        bend = curvature(surface, trial.ball, keys, steps=STEPS)
        near = gradient_agreement(surface, trial.ball, keys, neighbours=NEIGHBOURS)
    except NoGradientError:
        return None
    return Shape(
        examples=len(rows),
        gamma=float(line.relative.nanmedian()),
        curvature=float(bend.value.nanmedian()),
        cosine=float(near.cosine.nanmedian()),
        signs=float(near.signs.nanmedian()),
    )
