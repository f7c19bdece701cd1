"""Workers on a Ray cluster: actors, one per worker; the driver alone writes, so that they need no shared disk."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

from epsball.errors import MissingExtra
from epsball.workers.child import THREADS, prepared
from epsball.workers.options import Workers
from epsball.workers.outcome import TRIES, Attempt, Outcome, WorkersError

_LOG = logging.getLogger(__name__)


class _Worker:
    """What an actor is: prepares once, then does one task after another."""

    def __init__(self, content: bytes, number: int, threads: int) -> None:
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        self._do = prepared(content, number, threads)

    def ready(self) -> bool:
        """Return once the worker is prepared."""
        return True

    def do(self, attempt: Attempt) -> Any:
        """Do a task."""
        return self._do(attempt)


class _Cluster:
    """The actors of one call, and what each is at."""

    def __init__(self, ray: Any, content: bytes, workers: Workers, named: Callable[[Any], str]) -> None:
        self._ray, self._content, self._workers, self._named = ray, content, workers, named
        self._actor = ray.remote(max_restarts=0, num_cpus=workers.threads, num_gpus=workers.gpus)(_Worker)
        self._at: dict[Any, tuple[int, Any, Attempt | None]] = {}
        self._waiting: deque[Attempt] = deque()
        self._failed_starts = 0

    def outcomes(self, tasks: Sequence[Any], count: int) -> Iterator[Outcome]:
        """Yield the outcome of each task as it gets done."""
        self._waiting.extend(Attempt(task=task, tries=1) for task in tasks)
        left = len(tasks)
        try:
            for number in range(1, count + 1):
                self._start(number)
            while left:
                (done, *_), _ = self._ray.wait(list(self._at), num_returns=1)
                outcome = self._dealt_with(done)
                if outcome is not None:
                    left -= 1
                    yield outcome
        finally:
            for _, actor, _ in self._at.values():
                self._ray.kill(actor)
            self._at.clear()

    def _start(self, number: int) -> None:
        actor = self._actor.remote(self._content, number, self._workers.threads)
        self._at[actor.ready.remote()] = (number, actor, None)

    def _dealt_with(self, done: Any) -> Outcome | None:
        number, actor, attempt = self._at.pop(done)
        try:
            result = self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except self._ray.exceptions.RayError as error:
            return self._of_dead(number, attempt, error)
        outcome = None
        if attempt is None:
            self._failed_starts = 0
        else:
            outcome = Outcome(task=attempt.task, result=result, tries=attempt.tries)
        if self._waiting:
            following = self._waiting.popleft()
            self._at[actor.do.remote(following)] = (number, actor, following)
        else:
            self._ray.kill(actor)
        return outcome

    def _of_dead(self, number: int, attempt: Attempt | None, error: Exception) -> Outcome | None:
        """Name a dead worker, put a new one in its place, and see that its task is done again, or give it up."""
        fate = f"worker {number} died ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        outcome = None
        if attempt is None:
            self._failed_starts += 1
            if self._failed_starts >= TRIES:
                raise WorkersError(f"{fate} before it was ready, as {TRIES} workers did in a row.")
            _LOG.warning("%s; another one takes its place", fate)
        elif attempt.tries < TRIES:
            task = self._named(attempt.task)
            _LOG.warning("%s at %s, which is done again (try %d of %d)", fate, task, attempt.tries + 1, TRIES)
            self._waiting.appendleft(Attempt(task=attempt.task, tries=attempt.tries + 1))
        else:
            _LOG.warning("%s at %s, which is given up after %d tries", fate, self._named(attempt.task), TRIES)
            outcome = Outcome(task=attempt.task, tries=attempt.tries, lost=fate)
        if self._waiting:
            self._start(number)
        return outcome


def outcomes_on_ray(
    content: bytes, tasks: Sequence[Any], workers: Workers, count: int, named: Callable[[Any], str]
) -> Iterator[Outcome]:
    """Yield the outcome of each task as it gets done on a Ray cluster.

    Parameters
    ----------
    content
        The pickled callable that prepares a worker.
    tasks, workers, named
        As for `run`.
    count
        How many workers there are.

    Raises
    ------
    MissingExtra
        If Ray is not installed.
    """
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise MissingExtra("cluster", "ray", "--ray") from error
    ours = not ray.is_initialized()
    if ours:
        where = {"include_dashboard": False} if workers.ray == "local" else {"address": workers.ray}
        ray.init(log_to_driver=False, **where)
    try:
        yield from _Cluster(ray, content, workers, named).outcomes(tasks, count)
    finally:
        if ours:
            ray.shutdown()
