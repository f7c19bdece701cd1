"""Checks of options that count something."""

from epsball.errors import InputError


def check_counts(**values: object) -> None:
    """Raise InputError unless every value is a whole number, at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} is {value!r}; it must be a whole number, at least 1.")
