"""What Ctrl-C carries to the caller of a verb: what was found until then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def carrying(partial: Callable[[], object]) -> Iterator[None]:
    """Let a KeyboardInterrupt inside the block go on to the caller with what `partial` returns, as its `partial`.

    Examples
    --------
    >>> try:
    ...     with carrying(lambda: [1, 2]):
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt as interruption:
    ...     interruption.partial
    [1, 2]
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        interruption.partial = partial()  # pyright: ignore[reportAttributeAccessIssue]
        raise


def partial_of(interruption: KeyboardInterrupt) -> object:
    """Return what an interruption carries; None where nothing was found."""
    return getattr(interruption, "partial", None)
