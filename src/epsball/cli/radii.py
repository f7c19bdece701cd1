"""Radii on the command line: one, several, or a range."""

from fractions import Fraction
from typing import Annotated

from cyclopts import Parameter

from epsball.errors import InputError
from epsball.radius import parse_radius

_MOST_RADII = 10_000


def parse_radii(text: str) -> list[Fraction]:
    """Return the exact radii of ``a``, ``a,b,...`` or ``low:high:step``.

    Raises
    ------
    InputError
        If the text has another form, or the step is not positive.
    """
    parts = text.split(":")
    if len(parts) == 1:
        return [parse_radius(part) for part in text.split(",")]
    if len(parts) != 3:
        raise InputError(f"radii are '{text}'; give a radius, a,b,c or LOW:HIGH:STEP as in 0:5:0.25.")
    low, high, step = map(parse_radius, parts)
    if step <= 0 or high < low:
        raise InputError(f"radii are '{text}'; need LOW <= HIGH and a positive STEP.")
    count = int((high - low) / step) + 1
    if count > _MOST_RADII:
        raise InputError(f"radii '{text}' are {count} values, more than {_MOST_RADII}; take a larger STEP.")
    return [low + step * i for i in range(count)]


def _check_radii(_: object, text: str) -> None:
    parse_radii(text)


Radii = Annotated[
    str,
    Parameter(
        validator=_check_radii,
        help="One radius, several with commas, or LOW:HIGH:STEP, in pixels, as in 8/255,16/255 or 0:5:0.25.",
    ),
]
