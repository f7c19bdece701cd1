"""Progress of long work: the library reports it, and a listener may show it.

Nothing is printed unless a listener is installed (the command line installs one).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(what: str, done: int, total: int) -> None:
    """Tell the listener, if there is one, that `done` of `total` units of `what` are done; 0 where it is not known."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Tell the listener, if there is one, that `what` is done inside the block: work without a count."""
    report(what, 0, 0)
    try:
        yield
    finally:
        report(what, 1, 1)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send reports made inside the block to ``listener(what, done, total)``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
