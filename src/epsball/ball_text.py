"""The text form of a ball, ``linf:8/255``, ``l2:0.5,low=-1,high=1``, ``l1:12,low=none,high=none``, and its rules.

This module imports nothing heavy: the command line refuses a wrong ball before anything is loaded.
"""

import math
from fractions import Fraction
from typing import get_args

from epsball.errors import InputError, nearest
from epsball.names import NormName
from epsball.option_text import split_options
from epsball.radius import format_radius, parse_radius

NORM_NAMES: tuple[NormName, ...] = get_args(NormName)

_FORM = "A ball is NORM:RADIUS[,low=NUMBER,high=NUMBER], for example linf:8/255; low=none,high=none means no box."


def read(text: str) -> tuple[str, str, dict[str, float | None]]:
    """Return the norm, the radius and the ends of the box in a text.

    Raises
    ------
    InputError
        If the text has another form.
    """
    head, options = split_options(text)
    norm, colon, radius = head.partition(":")
    if not colon:
        raise InputError(f"ball is {text!r}, without a colon. {_FORM}")
    return norm.strip(), radius.strip(), {key: _end(key, value, text) for key, value in options.items()}


def check(text: str) -> None:
    """Raise InputError unless a text names a ball."""
    norm, radius, box = read(text)
    check_box(known_norm(norm), parse_radius(radius), box.get("low", 0.0), box.get("high", 1.0))


def known_norm(norm: object) -> NormName:
    """Return the name of a norm, or raise InputError if it is none."""
    for known in NORM_NAMES:
        if known == norm:
            return known
    hint = nearest(str(norm).lower(), NORM_NAMES)
    raise InputError(f"norm is {norm!r}; the norms are {', '.join(NORM_NAMES)}.{hint}")


def check_box(norm: NormName, radius: Fraction, low: float | None, high: float | None) -> None:
    """Raise InputError unless the box has two finite ends or none and the radius suits it."""
    if low is None and high is None:
        return
    if low is None or high is None:
        raise InputError(f"the box is low={low}, high={high}; give both ends, or None for both (no box).")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"the box is low={low}, high={high}; it needs finite ends with low < high, or None for both (no box)."
        )
    width = Fraction(high) - Fraction(low)
    if norm == "linf" and radius >= 2 * width:
        levels = radius * width
        hint = f"; did you mean {levels}/255?" if levels.denominator == 1 and levels < 2 * 255 * width else "."
        raise InputError(
            f"radius {format_radius(radius)} exceeds the box [{low:g}, {high:g}] (an linf radius "
            f"is less than twice its width, in the units of the pixels){hint}"
        )


def write(norm: str, radius: str, low: float | None, high: float | None) -> str:
    """Return the text that `read` reads back; the box [0, 1] is left out."""
    box = "" if (low, high) == (0.0, 1.0) else f",low={_format_end(low)},high={_format_end(high)}"
    return f"{norm}:{radius}{box}"


def _end(key: str, value: str, text: str) -> float | None:
    if key not in ("low", "high"):
        raise InputError(f"option '{key}' in {text!r} is not one of low, high.{nearest(key, ('low', 'high'))} {_FORM}")
    if value.lower() == "none":
        return None
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{key} in {text!r} is {value!r}, which is not a number. {_FORM}") from None


def _format_end(end: float | None) -> str:
    return "none" if end is None else repr(end).removesuffix(".0")
