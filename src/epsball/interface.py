"""Which interface a message is for: Python, or the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COMMAND_LINE: ContextVar[bool] = ContextVar("command_line", default=False)


def switch(name: str) -> str:
    """Return how something is switched on where the message will be read.

    Examples
    --------
    >>> switch("diagnosis")
    'diagnosis=True'
    """
    return f"--{name.replace('_', '-')}" if _COMMAND_LINE.get() else f"{name}=True"


@contextmanager
def command_line() -> Iterator[None]:
    """Have messages name options of the command line inside the block."""
    token = _COMMAND_LINE.set(True)
    try:
        yield
    finally:
        _COMMAND_LINE.reset(token)


def option(name: str, value: str) -> str:
    """Return how an option is given where the message will be read.

    Examples
    --------
    >>> option("method", "adaptive")
    "method='adaptive'"
    >>> with command_line():
    ...     option("method", "adaptive")
    '--method adaptive'
    """
    return f"--{name.replace('_', '-')} {value}" if _COMMAND_LINE.get() else f"{name}={value!r}"


def argument(name: str) -> str:
    """Return the name of an option where the message will be read.

    Examples
    --------
    >>> argument("min_robust")
    'min_robust'
    """
    return f"--{name.replace('_', '-')}" if _COMMAND_LINE.get() else name
