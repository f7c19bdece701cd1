"""Step sizes: numbers and rules in terms of radius and steps, a cosine that falls with the steps, and Adam's."""

import math
import re
from fractions import Fraction

from torch import Tensor

from epsball.ball import Ball
from epsball.errors import InputError

DEFAULT = "2.5*radius/steps"
_RULE = re.compile(r"(?:(?P<factor>\d+(?:\.\d*)?|\.\d+)\*)?radius(?P<divided>/steps)?$")

StepSize = str | int | float | Fraction

_BETAS = (0.9, 0.999)
_TINY = 1e-8


def step_size(rule: StepSize, ball: Ball, steps: int) -> float:
    """Return the step size of a rule.

    ``2.5*radius/steps`` (the default) lets the ascent cross the ball, 2*radius wide, from any
    start and turn back; ``radius/steps`` does not. Both hold for every norm: `ascent`
    has unit length in the ball's own norm, so an l1 step of s moves the points by at most s in l1.

    Parameters
    ----------
    rule
        A positive number, or a text ``[FACTOR*]radius[/steps]``.
    ball, steps
        The ball, and the number of steps K.

    Raises
    ------
    InputError
        If the rule is not of this form or not positive.

    References
    ----------
    Madry et al. (2018), whose released code uses 2.5*radius/steps.
    """
    if isinstance(rule, str):
        text = rule.replace(" ", "")
        match = _RULE.match(text)
        if match is None:
            try:
                return step_size(Fraction(text), ball, steps)
            except (ValueError, ZeroDivisionError):
                pass
            raise InputError(
                f"step_size '{rule}' is not understood; give a number, or '[FACTOR*]radius[/steps]' "
                f"as in '{DEFAULT}' or 'radius/steps'."
            )
        if match["factor"] and float(match["factor"]) == 0:
            raise InputError(f"step_size '{rule}' is 0; the search would not move.")
        return float(match["factor"] or 1) * float(ball.radius) / (steps if match["divided"] else 1)
    value = float(rule)
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"step_size is {rule}; it must be a positive number.")
    return value


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """Return the value at `step` of a cosine from `start` at step 0 to `end` at step `steps`."""
    return end + (start - end) * (1 + math.cos(math.pi * step / max(1, steps))) / 2


def adam(gradient: Tensor, mean: Tensor, square: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return Adam's averages of the gradient and its square after step k, and both corrected for their start at 0.

    m_k = b_1 m_(k-1) + (1 - b_1) g_k,  v_k = b_2 v_(k-1) + (1 - b_2) g_k^2,  b = (0.9, 0.999), and

        direction = m_k / (1 - b_1^k),  metric = sqrt(v_k / (1 - b_2^k)) + 1e-8;

    a step descends along direction / metric.

    Parameters
    ----------
    gradient, mean, square
        g_k, m_(k-1) and v_(k-1), alike in shape.
    k
        Number of the step, from 1; where examples differ, one each, as a column that divides the others.

    Returns
    -------
    mean, square, direction, metric
        m_k, v_k and the two parts of the step.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """
    mean = mean.lerp(gradient, 1 - _BETAS[0])
    square = square.lerp(gradient.square(), 1 - _BETAS[1])
    metric = (square / (1 - _BETAS[1] ** k)).sqrt_().add_(_TINY)
    return mean, square, mean / (1 - _BETAS[0] ** k), metric
