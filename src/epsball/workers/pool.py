"""The processes of one machine: starts them, hands out tasks, and replaces those that die."""

import logging
import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from epsball.progress import report
from epsball.workers.child import Message, serve
from epsball.workers.outcome import TRIES, Attempt, Outcome, WorkersError

_LOG = logging.getLogger(__name__)

SHOWN = 8
"""Most workers whose own progress is shown."""

_PATIENCE = 5.0


class _Worker:
    """A process with its pipe, and the task it is at."""

    def __init__(self, content: bytes, number: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=serve, args=(theirs, content, number, threads), name=f"epsball worker {number}"
        )
        self.process.start()
        theirs.close()
        self.ready = False
        self.attempt: Attempt | None = None
        self.reported: dict[str, int] = {}

    def read(self) -> Message | None:
        """Return its next message; None if it is dead."""
        try:
            return pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.process.join(_PATIENCE)
            return None

    def fate(self) -> str:
        """Return how it died."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
        return f"was killed by {name}" + (" (is memory short?)" if name == "SIGKILL" else "")

    def give(self, attempt: Attempt | None) -> None:
        """Hand it a task, or None to let it end; a dead one is found out when it is read."""
        self.attempt = attempt
        with suppress(OSError):
            self.pipe.send_bytes(pickle.dumps(attempt))

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.terminate()
        self.process.join(_PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()


class Pool:
    """Worker processes.

    Parameters
    ----------
    content
        The pickled callable that prepares a worker.
    count, threads
        How many there are, and the CPU threads of each.
    named
        How a task is called in messages.
    """

    def __init__(self, content: bytes, count: int, threads: int, named: Callable[[Any], str]) -> None:
        self._content, self._count, self._threads, self._named = content, count, threads, named
        self._workers: dict[int, _Worker] = {}
        self._waiting: deque[Attempt] = deque()
        self._failed_starts = 0

    def outcomes(self, tasks: Sequence[Any]) -> Iterator[Outcome]:
        """Yield the outcome of each task as it gets done."""
        self._waiting.extend(Attempt(task=task, tries=1) for task in tasks)
        left = len(tasks)
        try:
            for number in range(1, self._count + 1):
                self._start(number)
            while left:
                for outcome in self._next():
                    left -= 1
                    yield outcome
        finally:
            for worker in self._workers.values():
                worker.end()
            self._workers.clear()

    def _start(self, number: int) -> None:
        self._workers[number] = _Worker(self._content, number, self._threads)

    def _next(self) -> Iterator[Outcome]:
        """Wait for messages and deal with them."""
        by_pipe = {worker.pipe: worker for worker in self._workers.values()}
        for pipe in connection.wait(list(by_pipe)):
            worker = by_pipe[pipe]  # pyright: ignore[reportArgumentType]
            message = worker.read()
            outcome = self._of_dead(worker) if message is None else self._of_message(worker, message)
            if outcome is not None:
                yield outcome

    def _of_message(self, worker: _Worker, message: Message) -> Outcome | None:
        kind, *content = message
        if kind == "progress":
            self._show(worker, *content)
            return None
        if kind == "failed":
            raise _with_place(content[0], worker, self._named)
        outcome = None
        if kind == "ready":
            worker.ready, self._failed_starts = True, 0
        elif worker.attempt is not None:
            outcome = Outcome(task=worker.attempt.task, result=content[0], tries=worker.attempt.tries)
            self._hide(worker)
        self._hand_out(worker)
        return outcome

    def _hand_out(self, worker: _Worker) -> None:
        if self._waiting:
            worker.give(self._waiting.popleft())
        else:
            worker.give(None)
            self._workers.pop(worker.number)
            worker.process.join(_PATIENCE)
            worker.end()

    def _of_dead(self, worker: _Worker) -> Outcome | None:
        """Name a dead worker, put a new one in its place, and see that its task is done again, or give it up."""
        self._hide(worker)
        fate, who = worker.fate(), f"worker {worker.number} (process {worker.process.pid})"
        worker.end()
        del self._workers[worker.number]
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= TRIES:
                raise WorkersError(
                    f"{who} {fate} before it was ready, as {TRIES} workers did in a row; it may have said why above. "
                    'In a script, make the call below if __name__ == "__main__": - workers import the script.'
                )
        outcome, attempt = None, worker.attempt
        if attempt is None:
            _LOG.warning("%s %s; another one takes its place", who, fate)
        elif attempt.tries < TRIES:
            task = self._named(attempt.task)
            _LOG.warning("%s %s at %s, which is done again (try %d of %d)", who, fate, task, attempt.tries + 1, TRIES)
            self._waiting.appendleft(Attempt(task=attempt.task, tries=attempt.tries + 1))
        else:
            task = self._named(attempt.task)
            _LOG.warning("%s %s at %s, which is given up after %d tries", who, fate, task, TRIES)
            outcome = Outcome(task=attempt.task, tries=attempt.tries, lost=f"{who} {fate}")
        if self._waiting:
            self._start(worker.number)
        return outcome

    def _show(self, worker: _Worker, what: str, done: int, total: int) -> None:
        if self._count <= SHOWN and worker.attempt is not None:
            worker.reported[what] = max(total, 1)
            report(f"worker {worker.number}, {what}", done, total)

    def _hide(self, worker: _Worker) -> None:
        """Let nothing of a worker's last task stay on the screen."""
        for what, total in worker.reported.items():
            report(f"worker {worker.number}, {what}", total, total)
        worker.reported.clear()


def _with_place(error: BaseException, worker: _Worker, named: Callable[[Any], str]) -> BaseException:
    if worker.attempt is not None:
        error.add_note(f"in worker {worker.number}, at {named(worker.attempt.task)}")
    return error
