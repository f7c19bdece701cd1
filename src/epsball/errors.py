"""The named errors of epsball. Each message states the fact seen, the rule and the fix.

Every class carries the exit code with which the command line ends; every error knows the page that says more.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from epsball.mistakes import page_of

T = TypeVar("T")


class EpsballError(Exception):
    """Root of every error raised on purpose by epsball (exit code 1)."""

    exit_code = 1

    @property
    def page(self) -> str:
        """Name of its page, for `epsball explain`: that of the mistake its message tells of, or of its class."""
        return page_of(type(self).__name__, str(self))


class InputError(EpsballError, ValueError):
    """Data, labels, a ball, a text or an option that breaks a stated rule (exit code 2)."""

    exit_code = 2


class ModelError(EpsballError):
    """A model that does not behave as a classifier must (exit code 3)."""

    exit_code = 3


class NoGradientError(ModelError):
    """A model that passes no gradient to its input when one is needed (exit code 3)."""


class RandomModelError(ModelError):
    """A model that answers the same input differently (exit code 3)."""


class BatchDependenceError(ModelError):
    """A model whose logits of an example depend on the rest of its batch (exit code 3)."""


class UnsupportedOperation(EpsballError):
    """An operation for which a method has no rule (exit code 4)."""

    exit_code = 4


class MissingExtra(EpsballError, ImportError):
    """An optional dependency that is not installed (exit code 5)."""

    exit_code = 5

    def __init__(self, extra: str, package: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'epsball[{extra}]'"
        )


class CertificateError(EpsballError):
    """A certificate that is malformed, belongs to another model, or does not hold (exit code 6)."""

    exit_code = 6


class AssumptionError(EpsballError):
    """A stated assumption (a kernel, a rounding contract) that was found broken (exit code 7)."""

    exit_code = 7


class SoundnessError(EpsballError):
    """A contradiction between a witness and a certificate: a bug in epsball (exit code 8)."""

    exit_code = 8


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'X'?`` for the known name nearest to `name`, or an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def first_line(error: BaseException, most: int = 200) -> str:
    """Return the first line of an exception's text, cut to `most` characters; its type's name if it has no text."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:most]


def lookup(known: Mapping[str, T], name: str, what: str) -> T:
    """Return the entry of a table of names; `what` says in messages what the names are of.

    Raises
    ------
    InputError
        If the name is unknown; the message lists the known names and the nearest of them.
    """
    if name not in known:
        raise InputError(f"unknown {what} '{name}'; known: {', '.join(known)}.{nearest(str(name), known)}")
    return known[name]


choose = lookup  # old name, until 0.3
