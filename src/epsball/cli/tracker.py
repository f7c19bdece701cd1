"""What of a command's work is done, and how much time is left: the reports of the library, over time."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT = 64
"""Samples kept per task."""
APART = 0.25
"""Seconds between two samples."""
LEAST = 1.0
"""Seconds below which no rate is taken."""
RECENT = 10.0
"""Seconds of a task that its rate is taken over, at least; else half of its time so far."""


@dataclass(kw_only=True)
class Task:
    """One kind of work that the library counts.

    Parameters
    ----------
    what, done, total
        As reported; total 0 where it is not known.
    begun, told
        Times of the first and of the last report.
    samples
        Some (time, done), the oldest first.
    """

    what: str
    done: int
    total: int
    begun: float
    told: float
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def finished(self) -> bool:
        """Whether all is done."""
        return 0 < self.total <= self.done

    def left(self, now: float) -> float | None:
        """Return the seconds left, or None where nothing can be said.

        The rate is that of the later half of the time so far, so that a slow start and cheap first units do not count
        for ever. Time since the last report is taken off; where more has passed than was left, nothing is known.
        """
        since = now - max(RECENT, 0.5 * (now - self.begun))
        start = next((sample for sample in reversed(self.samples) if sample[0] <= since), self.samples[0])
        seconds, units = self.told - start[0], self.done - start[1]
        if self.total == 0 or seconds < LEAST or units <= 0:
            return None
        left = (self.total - self.done) * seconds / units - (now - self.told)
        return left if left > 0 else None


class Tracker:
    """The tasks at work; `report` is what `epsball.progress.listening` takes.

    Parameters
    ----------
    clock
        Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tasks: dict[str, Task] = {}
        self.begun = clock()

    def report(self, what: str, done: int, total: int) -> None:
        """Note that `done` of `total` units are done."""
        now = self._clock()
        task = self._tasks.pop(what, None)
        if task is None or done < task.done or total != task.total:
            task = Task(what=what, done=done, total=total, begun=now, told=now)
        task.done, task.told = done, now
        if not task.samples or now - task.samples[-1][0] >= APART:
            task.samples.append((now, done))
        if not task.finished:
            self._tasks[what] = task

    def current(self) -> list[Task]:
        """Return what is at work, in the order in which it was begun."""
        tasks = list(self._tasks.values())  # One step, though another thread reports.
        return sorted(tasks, key=lambda task: task.begun)

    def seconds(self) -> float:
        """Return the time since the start."""
        return self._clock() - self.begun

    def line(self) -> str:
        """Return what is at work as one line."""
        now = self._clock()
        parts = [described(task, now) for task in self.current()] or ["working"]
        return f"{'; '.join(parts)} ({duration(self.seconds())} so far)"


def described(task: Task, now: float) -> str:
    """Return a task as text, ``pgd: 96 of 1000, about 2 min left``."""
    counted = f"{task.what}: {task.done} of {task.total}" if task.total else task.what
    left = task.left(now)
    return counted if left is None else f"{counted}, {about(left)} left"


def about(seconds: float) -> str:
    """Return a time that is an estimate, rounded up to what it can be good for.

    Examples
    --------
    >>> about(3.2), about(47.0), about(200.0), about(8000.0)
    ('about 4 s', 'about 50 s', 'about 4 min', 'about 2 h 20 min')
    """
    if seconds <= 10:
        return f"about {math.ceil(seconds)} s"
    if seconds <= 90:
        return f"about {5 * math.ceil(seconds / 5)} s"
    minutes = math.ceil(seconds / 60)
    if minutes <= 90:
        return f"about {minutes} min"
    hours, minutes = divmod(10 * math.ceil(minutes / 10), 60)
    return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"


def duration(seconds: float) -> str:
    """Return a measured time.

    Examples
    --------
    >>> duration(7.6), duration(72.0), duration(3700.0)
    ('7 s', '1 min 12 s', '1 h 1 min')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
