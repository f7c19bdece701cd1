"""Progress bars for what the library reports."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from epsball import progress


@contextmanager
def showing_progress() -> Iterator[None]:
    """Show what the library reports as bars on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def listener(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total, visible=done < total)

        with progress.listening(listener):
            yield
