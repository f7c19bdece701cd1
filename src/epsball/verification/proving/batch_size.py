"""`BatchSize`: how many boxes are bounded together, by what bounding them took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SECONDS = 0.4
"""What bounding a batch is to take: long enough that its boxes share work, short enough that nothing waits for it."""


@dataclass(kw_only=True)
class BatchSize:
    """The number of boxes of the next batch: one at first, for nothing is known of what a box costs.

    Parameters
    ----------
    most
        The largest number.

    Attributes
    ----------
    now
        The number for the next batch.
    each
        Seconds by the clock that a box of the last batch took; 0 before the first.

    Examples
    --------
    >>> size = BatchSize(most=64)
    >>> with size.measured(size.now):
    ...     pass
    >>> size.now
    2
    """

    most: int
    now: int = field(default=1, init=False)
    each: float = field(default=0.0, init=False)

    @contextmanager
    def measured(self, done: int) -> Iterator[None]:
        """Bound a batch of so many boxes inside the block; the next is larger, smaller or as large by its time."""
        begun = time.perf_counter()
        yield
        taken = time.perf_counter() - begun
        self.each = taken / max(1, done)
        if taken > 2 * SECONDS:
            self.now = max(1, self.now // 2)
        elif taken < SECONDS and done == self.now:
            self.now = min(self.most, 2 * self.now)
