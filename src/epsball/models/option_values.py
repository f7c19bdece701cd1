"""Option texts as values: numbers, fractions, lists, and keyword arguments of a builder."""

import inspect
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from epsball.errors import InputError, nearest


def number(text: str) -> float:
    """Return a number written as decimal or as a fraction: ``0.5``, ``8/255``, ``125.3/255``.

    The quotient is taken exactly and rounded once.

    Raises
    ------
    ValueError
        If `text` is not a finite number.
    """
    numerator, *denominators = text.split("/")
    if len(denominators) > 1:
        raise ValueError(f"{text!r} has more than one /")
    try:
        return float(Fraction(numerator) / Fraction(*denominators or "1"))
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a finite number") from error


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of a colon-separated list, ``0.4914:0.4822:0.4465``."""
    return tuple(number(part) for part in _parts(text))


def integers(text: str) -> tuple[int, ...]:
    """Return the integers of a colon-separated list, ``100:100``."""
    return tuple(int(part) for part in _parts(text))


def shape(text: str) -> tuple[int, ...]:
    """Return the shape of one input, ``1x28x28``."""
    sizes = tuple(int(part) for part in text.lower().split("x"))
    if min(sizes) < 1:
        raise ValueError(f"a size in {text!r} is not positive")
    return sizes


def boolean(text: str) -> bool:
    """Return the truth of ``true`` or ``false``."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def read_option(key: str, text: str, reader: Callable[[str], Any], example: str) -> Any:
    """Return ``reader(text)``, or raise an `InputError` that shows how the option is written."""
    try:
        return reader(text)
    except ValueError as error:
        raise InputError(f"option {key}={text} cannot be read ({error}); write it like {key}={example}.") from error


def keyword_arguments(
    function: Callable[..., Any], name: str, options: Mapping[str, str], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keyword arguments with which to call a builder.

    An option's text is read by the parameter's annotation (int, float, bool, str, tuples of
    int or float), else by the type of its default, else by its looks. `known` values go to
    the parameters of their names and to no other.

    Parameters
    ----------
    function
        The builder.
    name
        What the user called it, for messages.
    options
        Option texts; each must be a parameter of `function`.
    known
        Values such as `shape` and `classes`; None means not known.

    Raises
    ------
    InputError
        If an option is unknown or cannot be read, or a required argument is missing.
    """
    try:
        parameters = inspect.signature(function).parameters
    except ValueError as error:
        raise InputError(f"{name} has no signature; wrap it in a function with named arguments.") from error
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    arguments: dict[str, Any] = {}
    for key, text in options.items():
        if key not in parameters and not takes_any:
            raise InputError(
                f"{name} has no option '{key}'.{nearest(key, parameters)} "
                f"Its options: {', '.join(parameters) or 'none'}."
            )
        reader, example = _reader(parameters.get(key))
        arguments[key] = read_option(key, text, reader, example)
    for key, value in known.items():
        if key in parameters and value is not None:
            arguments.setdefault(key, value)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    required = [key for key, p in parameters.items() if p.default is p.empty and p.kind in named]
    _refuse_missing(name, [key for key in required if key not in arguments])
    return arguments


def _refuse_missing(name: str, missing: list[str]) -> None:
    """Raise InputError if required arguments are missing: all of them, and how each is written."""
    if not missing:
        return
    needs = " and ".join(f"'{key}'" for key in missing)
    options = "".join(f",{key}={_EXAMPLES.get(key, 'VALUE')}" for key in missing)
    from_data = " (taken from the data where data are named)" if set(missing) & set(_EXAMPLES) else ""
    raise InputError(f"{name} needs {needs}: add {options} to its text{from_data}.")


_EXAMPLES = {"shape": "1x28x28", "classes": "10"}
_READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (int, "10"),
    float: (number, "0.5"),
    bool: (boolean, "true"),
    str: (str, "text"),
    tuple[int, ...]: (integers, "100:100"),
    tuple[float, ...]: (numbers, "0.5:0.25"),
}


def _reader(parameter: inspect.Parameter | None) -> tuple[Callable[[str], Any], str]:
    if parameter is None:
        return _by_looks, "VALUE"
    for kind in (parameter.annotation, type(parameter.default)):
        if kind in _READERS:
            return _READERS[kind]
    return _by_looks, "VALUE"


def _by_looks(text: str) -> Any:
    for reader in (int, number, boolean, integers, numbers):
        try:
            return reader(text)
        except ValueError:
            continue
    return text


def _parts(text: str) -> list[str]:
    return text.replace(",", ":").split(":")
