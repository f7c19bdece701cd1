"""`Deadline`: when an answer is due, kept also inside long steps."""

import inspect
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_AGAIN = 0.02
"""Seconds after which an alarm rings again that rang during an import."""


class TimeUp(BaseException):
    """Raised where the time is up; not an `Exception`, so that no handler of failures takes it for one."""


@dataclass
class Deadline:
    """A moment of the clock `time.monotonic`; infinite where there is no limit.

    Attributes
    ----------
    rings
        Whether `TimeUp` is raised then wherever the program is, so that nothing need look at the clock.

    Examples
    --------
    >>> Deadline.after(None).left
    inf
    """

    moment: float
    rings: bool = field(default=False, init=False)

    @classmethod
    def after(cls, seconds: int | float | None) -> "Deadline":
        """Return the deadline in so many seconds from now; None sets none."""
        return cls(math.inf if seconds is None else time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds left, below 0 once it has passed."""
        return self.moment - time.monotonic()

    def cpu_seconds(self, threads: int) -> float | None:
        """Return how much CPU time so many threads have left, at least a moment; None where there is no limit.

        Where the deadline does not ring, the time of one thread: a computation may use no more.
        """
        if math.isinf(self.moment):
            return None
        return max(self.left, 1e-3) * (threads if self.rings else 1)

    def sooner(self, seconds: float) -> "Deadline":
        """Return the moment in so many seconds, or this one where it comes first; it rings like this one."""
        found = Deadline(min(self.moment, time.monotonic() + seconds))
        found.rings = self.rings
        return found

    def check(self) -> None:
        """Raise `TimeUp` if it has passed."""
        if self.left <= 0:
            raise TimeUp

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Raise `TimeUp` inside the block when the time is up.

        In the main thread of a system with alarms, wherever the block is, but for imports, which are let finish: a
        module that is half imported stays so. Elsewhere, and where somebody else has set an alarm, at its own calls of
        `check`.
        """
        self.check()
        if not _alarms() or math.isinf(self.moment):
            yield
            return
        before = signal.signal(signal.SIGALRM, _Ring(_imports(inspect.currentframe())))
        try:
            signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3))
            self.rings = True
            yield
        finally:
            self.rings = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _alarms() -> bool:
    """Return whether an alarm can be set here that nobody else uses."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )


def _imports(frame: FrameType | None) -> int:
    """Return how many steps of imports are under way."""
    found = 0
    while frame is not None:
        found += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return found


@dataclass(frozen=True)
class _Ring:
    """What an alarm does; `imports` were under way when it was set."""

    imports: int

    def __call__(self, _number: int, frame: FrameType | None) -> None:
        if _imports(frame) > self.imports:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            raise TimeUp
