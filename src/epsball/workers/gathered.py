"""What workers found, task by task, for a loop that takes the results in its own order."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from epsball.workers.options import Workers
from epsball.workers.outcome import Attempt, Outcome, WorkersError
from epsball.workers.run import run


class Gathered:
    """Results by task; `take` waits for the one it is asked for.

    Parameters
    ----------
    outcomes
        The outcomes, as `run` yields them.
    """

    def __init__(self, outcomes: Iterator[Outcome]) -> None:
        self._outcomes = outcomes
        self._known: dict[Any, Outcome] = {}

    def take(self, task: Any) -> Any:
        """Return the result of a task.

        Raises
        ------
        WorkersError
            If it was given up.
        """
        while task not in self._known:
            outcome = next(self._outcomes)
            self._known[outcome.task] = outcome
        outcome = self._known.pop(task)
        if outcome.lost is not None:
            raise WorkersError(f"a part was given up because every worker died at it ({outcome.lost}). Call again.")
        return outcome.result


@contextmanager
def gathering(
    prepare: Callable[[int], Callable[[Attempt], Any]],
    tasks: list[Any],
    workers: Workers,
    *,
    what: str,
    size: Callable[[Any], int],
    named: Callable[[Any], str],
) -> Iterator[Gathered]:
    """Let workers do the tasks inside the block, as `run` does; no worker is left behind it."""
    with closing(run(prepare, tasks, workers, what=what, size=size, named=named)) as outcomes:
        yield Gathered(outcomes)
