"""Checks of options that several objectives share."""

import math

from epsball.ball import Ball
from epsball.errors import InputError


def require_weight(name: str, value: float) -> None:
    """Raise InputError unless a term's weight is a finite number of at least 0."""
    if not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is {value!r}; a term's weight is a finite number of at least 0.")


def require_positive(name: str, value: float) -> None:
    """Raise InputError unless a number is finite and positive."""
    if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value!r}; it must be a positive number.")


def require_radius(ball: Ball) -> None:
    """Raise InputError for a ball of radius 0."""
    if ball.radius == 0:
        raise InputError("the radius is 0: that is standard training. Use the objective 'standard'.")
