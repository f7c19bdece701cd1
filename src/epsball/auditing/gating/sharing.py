"""A gate on workers: they audit ahead; the answer comes from the examples in their order, as without them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from epsball.workers import Sent, Workers, gathering
from epsball.workers.outcome import Attempt

if TYPE_CHECKING:
    import pyarrow

    Table = Callable[[int], pyarrow.Table]


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedLooks:
    """What a worker needs for the examples between two looks.

    Parameters
    ----------
    looked_at
        ``looked_at(classifier, data, ball).table(start)`` is their evidence.
    subject
        Gives classifier, data and ball.
    """

    looked_at: Callable[..., Any]
    subject: Sent

    def __call__(self, number: int) -> "Callable[[Attempt], pyarrow.Table]":
        """Return what audits the examples from one look to the next."""
        looks = self.looked_at(*self.subject(number))
        return lambda attempt: looks.table(attempt.task)


@contextmanager
def shared_looks(
    looked_at: Callable[..., Any], subject: tuple[Any, Any, Any], starts: Sequence[int], workers: Workers
) -> "Iterator[Table]":
    """Return what gives the evidence of the examples from one look to the next, as workers find it."""
    work = SharedLooks(looked_at=looked_at, subject=workers.sent(*subject))
    step = starts[1] - starts[0] if len(starts) > 1 else 1
    with gathering(
        work,
        list(starts),
        workers,
        what="examples audited ahead",
        size=lambda start: step,
        named=lambda start: f"the examples from {start} on in the gate's order",
    ) as gathered:
        yield gathered.take
