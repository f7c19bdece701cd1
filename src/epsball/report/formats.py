"""How numbers are written on a page: never rounded to what they are not."""

import math
from typing import Any

NONE = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in percent; what is not all is never 100%, and what is not nothing never 0%.

    Examples
    --------
    >>> percent(0.8647), percent(0.99999), percent(0.00001), percent(1.0), percent(None)
    ('86.5%', '>99.9%', '<0.1%', '100%', '–')
    """
    if share is None or not math.isfinite(share):
        return NONE
    text, step = f"{share:.{digits}%}", 10.0**-digits
    if share < 1.0 and text == f"{1:.{digits}%}":
        return f">{100 - step:.{digits}f}%"
    if 0.0 < share < 1.0 and text == f"{0:.{digits}%}":
        return f"<{step:.{digits}f}%"
    return text if share not in (0.0, 1.0) else f"{share:.0%}"


def interval(ends: Any) -> str:
    """Return an interval of shares, rounded outward.

    Examples
    --------
    >>> from epsball.statistics import Interval
    >>> interval(Interval(0.83475, 0.89114))
    '[83.4%, 89.2%]'
    """
    if ends is None:
        return NONE
    low, high = math.floor(ends.low * 1000 + 1e-9) / 10, math.ceil(ends.high * 1000 - 1e-9) / 10
    return f"[{low:.1f}%, {high:.1f}%]"


def count(value: int | None) -> str:
    """Return a whole number with separators.

    Examples
    --------
    >>> count(50000), count(None)
    ('50,000', '–')
    """
    return NONE if value is None else f"{value:,}"


def number(value: float | None) -> str:
    """Return a number with three significant digits.

    Examples
    --------
    >>> number(0.123456), number(float("nan"))
    ('0.123', '–')
    """
    return NONE if value is None or not math.isfinite(value) else f"{value:.3g}"


def position(share: float) -> str:
    """Return where a share lies on an axis from 0 to 1, for a drawing."""
    return f"{100 * min(1.0, max(0.0, share)):.3f}%"
