"""Checks of the numbers that attacks take."""

from epsball.errors import InputError


def check_count(name: str, value: int) -> None:
    """Raise InputError unless `value` is a whole number, at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}; it must be a whole number, at least 1.")


def check_options(attack: object, *, counts: tuple[str, ...] = (), positive: tuple[str, ...] = ()) -> None:
    """Raise InputError unless the attack's fields of these names are whole numbers from 1, or positive numbers."""
    for name in counts:
        check_count(name, getattr(attack, name))
    for name in positive:
        check_positive(name, getattr(attack, name))


def check_share(name: str, value: float) -> None:
    """Raise InputError unless `value` lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise InputError(f"{name} is {value!r}; it must lie between 0 and 1.")


def check_positive(name: str, value: float) -> None:
    """Raise InputError unless `value` is a positive number."""
    if not 0 < value < float("inf"):
        raise InputError(f"{name} is {value!r}; it must be a positive number.")
