"""Progress of a command on standard error: bars in a terminal, a line now and then elsewhere; notes and logging."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

from cyclopts import Parameter

from epsball import progress
from epsball.cli.tracker import Tracker, about, duration

FIRST = 0.5
"""Seconds before a terminal shows anything: what is quicker needs no bar."""
REFRESH = 0.5
"""Seconds between two looks at what is done."""
FIRST_LINE, GROWTH, LONGEST = 2.0, 1.5, 30.0
"""Redirected output: seconds to the first line, by what the gaps grow, and the longest."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Loudness:
    """How much a command says on standard error.

    Parameters
    ----------
    quiet
        Say nothing but warnings and errors.
    verbose
        Say what is done, step by step.
    """

    quiet: Annotated[bool, Parameter(negative=(), help="Say nothing but warnings and errors.")] = False
    verbose: Annotated[bool, Parameter(negative=(), help="Say what is done, step by step.")] = False

    @property
    def level(self) -> int:
        """The least level of logging that is shown."""
        return logging.WARNING if self.quiet else logging.DEBUG if self.verbose else logging.INFO


@runtime_checkable
class Display(Protocol):
    """Where progress is shown."""

    def look(self) -> None:
        """Show what is done by now, if it is time to."""

    def close(self) -> None:
        """Take away what must not stay."""


class Lines:
    """A line now and then: after 2 s, then at growing intervals of up to 30 s."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker, self._gap, self._next = tracker, FIRST_LINE, FIRST_LINE

    def look(self) -> None:
        """Print a line if it is time to."""
        now = self._tracker.seconds()
        if now >= self._next:
            print(f"progress: {self._tracker.line()}", file=sys.stderr, flush=True)
            self._gap = min(GROWTH * self._gap, LONGEST)
            self._next = now + self._gap

    def close(self) -> None:
        """Nothing stays open."""


class Bars:
    """Bars in a terminal, with the time so far; they move even where nothing is reported."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._bars: Any = None
        self._rows: dict[str, Any] = {}

    def look(self) -> None:
        """Draw the bars as they are now."""
        if self._tracker.seconds() < FIRST:
            return
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        now = self._tracker.begun + self._tracker.seconds()
        tasks = {task.what: task for task in self._tracker.current()}
        for gone in self._rows.keys() - (tasks.keys() or {""}):
            self._bars.remove_task(self._rows.pop(gone))
        elapsed = duration(self._tracker.seconds())
        for what, task in tasks.items():
            left = task.left(now)
            counted = f"{task.done} of {task.total}" if task.total else ""
            self._row(what, what, task.done, task.total or None, counted, "" if left is None else f"{about(left)} left")
        if not tasks:
            self._row("", "working", 0, None, "", "")
        for number, row in enumerate(self._rows.values()):
            self._bars.update(row, elapsed=elapsed if number == 0 else "")
        self._bars.refresh()

    def _row(self, key: str, what: str, done: int, total: int | None, counted: str, left: str) -> None:
        if key not in self._rows:
            self._rows[key] = self._bars.add_task(what, total=total, counted="", left="", elapsed="")
        self._bars.update(self._rows[key], completed=done, total=total, counted=counted, left=left)

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = ("{task.description}", "{task.fields[counted]}", "{task.fields[left]}", "{task.fields[elapsed]}")
    return Progress(
        SpinnerColumn(),
        TextColumn(columns[0]),
        BarColumn(bar_width=20),
        *map(TextColumn, columns[1:]),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )


@contextmanager
def showing(loudness: Loudness) -> Iterator[None]:
    """Show progress, notes and log of what runs inside the block on standard error, as loud as asked for.

    Of several processes of one training only the first shows progress.
    """
    with _logging(loudness.level):
        if loudness.quiet or os.environ.get("RANK", "0") != "0":
            yield
            return
        tracker = Tracker()
        display = Bars(tracker) if sys.stderr.isatty() else Lines(tracker)
        with progress.listening(tracker.report), looking(display):
            yield


@contextmanager
def looking(display: Display) -> Iterator[None]:
    """Let a display look at what is done every half second, whatever the block does."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(REFRESH):
            display.look()

    thread = threading.Thread(target=look, name="epsball progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        display.close()


class _Notes(logging.Handler):
    """Prints records on standard error as it is at the time: bars move out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record: what everybody sees as a note, details with the name of the logger."""
        loud = record.levelno >= logging.INFO
        head = "note" if record.levelno == logging.INFO else record.levelname.lower()
        print(f"{head}: {record.getMessage()}" if loud else f"{record.name}: {record.getMessage()}", file=sys.stderr)


@contextmanager
def _logging(level: int) -> Iterator[None]:
    """Print what the package logs inside the block, from a level on; the logger is left as it was."""
    logger, handler = logging.getLogger("epsball"), _Notes()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
