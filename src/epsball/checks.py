"""Checks of the numbers that options take: each raises InputError with the name, the value and the rule."""

import math
from numbers import Real

from epsball.errors import InputError


def check_count(name: str, value: object, *, unit: str = "", optional: bool = False) -> None:
    """Raise InputError unless `value` is a whole number, at least 1.

    Parameters
    ----------
    name, value
        The option and what was given for it.
    unit
        What it counts, for the message: ``"passes per example"``.
    optional
        Whether None, no limit, is allowed too.
    """
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        of, none = f" of {unit}" if unit else "", ", or None" if optional else ""
        raise InputError(f"{name} is {value!r}; it must be a whole number{of}, at least 1{none}.")


def check_counts(options: object, *names: str) -> None:
    """Raise InputError unless the fields of these names are whole numbers, at least 1."""
    for name in names:
        check_count(name, getattr(options, name))


def check_positive(name: str, value: object) -> None:
    """Raise InputError unless `value` is a finite positive number."""
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise InputError(f"{name} is {value!r}; it must be a positive number.")


def check_weight(name: str, value: object) -> None:
    """Raise InputError unless `value`, the weight of a term, is a finite number of at least 0."""
    if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise InputError(f"{name} is {value!r}; a term's weight is a finite number of at least 0.")


def check_share(name: str, value: object) -> None:
    """Raise InputError unless `value` is a number strictly between 0 and 1."""
    if not isinstance(value, Real) or not 0 < float(value) < 1:
        raise InputError(f"{name} is {value!r}; it must lie strictly between 0 and 1.")


def check_seed(seed: int) -> None:
    """Raise InputError unless `seed` is a whole number from 0 to 2^63 - 1."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed!r}; it must be a whole number from 0 to 2^63 - 1.")
