"""Step sizes: a number in units of the ball's norm, or a rule in terms of radius and steps."""

import math
import re
from fractions import Fraction

from epsball.ball import Ball
from epsball.errors import InputError

DEFAULT = "2.5*radius/steps"
_RULE = re.compile(r"(?:(?P<factor>\d+(?:\.\d*)?|\.\d+)\*)?radius(?P<divided>/steps)?$")

StepSize = str | int | float | Fraction


def step_size(rule: StepSize, ball: Ball, steps: int) -> float:
    """Return the step size of a rule.

    ``2.5*radius/steps`` (the default) lets the ascent cross the ball, 2*radius wide, from any
    start, with room to turn back; ``radius/steps`` cannot. Both hold for every norm: `ascent`
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
            raise InputError(f"step_size '{rule}' is 0; a search would take no step.")
        return float(match["factor"] or 1) * float(ball.radius) / (steps if match["divided"] else 1)
    value = float(rule)
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"step_size is {rule}; it must be a positive number.")
    return value
