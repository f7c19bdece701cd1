"""Checks of an attack's options."""

import math

from epsball.errors import InputError


def check_whole(*, least: int = 1, **options: int) -> None:
    """Raise InputError unless every option is a whole number, at least `least`."""
    for name, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} is {value!r}; it must be a whole number, at least {least}.")


def check_positive(**options: float) -> None:
    """Raise InputError unless every option is a positive, finite number."""
    for name, value in options.items():
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value!r}; it must be a positive number.")
