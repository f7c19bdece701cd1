"""The text form of a ball: ``linf:8/255``, ``l2:0.5,low=-1,high=1``, ``l1:12,low=none,high=none``."""

from epsball.errors import InputError, nearest
from epsball.option_text import split_options

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
