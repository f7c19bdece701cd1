"""Which interface a message is for: Python, or the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COMMAND_LINE: ContextVar[bool] = ContextVar("command_line", default=False)

_COMMAND: ContextVar[str | None] = ContextVar("command", default=None)


def switch(name: str) -> str:
    """Return how something is switched on where the message will be read.

    Examples
    --------
    >>> switch("diagnosis")
    'diagnosis=True'
    """
    return f"--{name.replace('_', '-')}" if _COMMAND_LINE.get() else f"{name}=True"


@contextmanager
def command_line(text: str | None = None) -> Iterator[None]:
    """Have messages name options of the command line inside the block, which runs the command `text`."""
    tokens = _COMMAND_LINE.set(True), _COMMAND.set(text)
    try:
        yield
    finally:
        _COMMAND_LINE.reset(tokens[0])
        _COMMAND.reset(tokens[1])


def command() -> str | None:
    """Return the command that is running, as a shell takes it; None in Python."""
    return _COMMAND.get()


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
