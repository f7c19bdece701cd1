"""The exact radius: a `Fraction` from text, an integer, a fraction or a float."""

import math
import re
from fractions import Fraction

from epsball.errors import InputError

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_EXAMPLE = "A radius is a finite number of at least 0, for example 8/255 or 0.1."


def parse_radius(value: str | int | float | Fraction) -> Fraction:
    """Return the exact radius that `value` means.

    Parameters
    ----------
    value
        Text (``"8/255"``, ``"0.1"``, ``"1e-3"``), an int or a `Fraction` is exact. A float means the
        simplest fraction that rounds to it, so that Python's ``8/255`` is 8/255 and ``0.1`` is 1/10.

    Raises
    ------
    InputError
        If it is negative, not finite, larger than any float64, or not a number at all.

    Examples
    --------
    >>> parse_radius(8 / 255), parse_radius("0.1")
    (Fraction(8, 255), Fraction(1, 10))
    """
    if isinstance(value, str):
        radius = _from_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"radius is {value}. {_EXAMPLE}")
        radius = simplest_fraction(value)
    elif isinstance(value, int | Fraction) and not isinstance(value, bool):
        radius = Fraction(value)
    else:
        raise InputError(
            f"radius is {value!r} of type {type(value).__name__}; give text, an int, a float or a Fraction."
        )
    if radius < 0:
        raise InputError(f"radius is {value}, which is negative. {_EXAMPLE} Did you mean {format_radius(-radius)}?")
    if radius > Fraction(math.nextafter(math.inf, 0.0)):
        raise InputError(f"radius is {value}, beyond the largest float64. {_EXAMPLE}")
    return radius


def format_radius(radius: Fraction) -> str:
    """Return the shortest text that `parse_radius` reads back exactly: ``0.1``, ``8/255``, ``2``."""
    decimal = repr(float(radius))
    return decimal if radius.denominator > 1 and Fraction(decimal) == radius else str(radius)


def simplest_fraction(value: float) -> Fraction:
    """Return the fraction of least denominator, then least numerator, that rounds to the float `value`.

    The reals that round to a float form an interval whose ends, half-way to the neighbours, belong to
    it if the float's last bit is even (ties go to even). Its simplest member is found by walking down
    the Stern-Brocot tree, which amounts to expanding both ends in a continued fraction.

    References
    ----------
    Graham, Knuth and Patashnik, "Concrete Mathematics", section 4.5.
    """
    if value < 0:
        return -simplest_fraction(-value)
    if value == 0:
        return Fraction(0)
    exact, spacing = Fraction(value), Fraction(math.ulp(value))
    low = (exact + Fraction(math.nextafter(value, 0.0))) / 2
    return _simplest_between(low, exact + spacing / 2, closed=(exact / spacing).numerator % 2 == 0)


def _simplest_between(low: Fraction, high: Fraction, *, closed: bool) -> Fraction:
    """Return the simplest fraction in [low, high] or, unless `closed`, in (low, high); 0 <= low < high."""
    whole = math.floor(low)
    if closed and low == whole:
        return Fraction(whole)
    if whole + 1 < high or (closed and whole + 1 == high):
        return Fraction(whole + 1)
    if low == whole:
        return whole + Fraction(1, math.floor(1 / (high - whole)) + 1)
    return whole + 1 / _simplest_between(1 / (high - whole), 1 / (low - whole), closed=closed)


def _from_text(text: str) -> Fraction:
    parts = [part.strip() for part in text.split("/")]
    if len(parts) > 2 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise InputError(f"radius is {text!r}, which is not a number. {_EXAMPLE}")
    numbers = [Fraction(part) for part in parts]
    if numbers[-1] == 0 and len(numbers) == 2:
        raise InputError(f"radius is {text!r}, a division by zero. {_EXAMPLE}")
    return numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0]
