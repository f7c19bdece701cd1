"""`run`: tasks on workers, as they get done; a worker that dies is named, and its task is done again."""

import pickle
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from epsball.errors import InputError
from epsball.progress import report
from epsball.workers.cluster import outcomes_on_ray
from epsball.workers.options import Workers
from epsball.workers.outcome import Attempt, Outcome
from epsball.workers.pool import Pool

Task = TypeVar("Task")


def run(
    prepare: Callable[[int], Callable[[Attempt], Any]],
    tasks: Sequence[Task],
    workers: Workers,
    *,
    what: str,
    named: Callable[[Task], str] = str,
    size: Callable[[Task], int] = lambda task: 1,
    before: int = 0,
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each task, in the order in which they get done.

    A worker makes what it works with once, by ``prepare(number)``, and does tasks with it. If it dies, a new one takes
    its place and its task is done again, at most `TRIES` times in all; then the task is given up and the others go on.
    An exception that a task raises is raised here. When the iteration ends, however it ends, no worker is left.

    Parameters
    ----------
    prepare
        Can be pickled; returns what maps an `Attempt` to a result that can be pickled.
    tasks
        What is to be done; begun in this order.
    workers
        How many there are, and what they run on.
    what
        What the tasks consist of, as progress names it.
    named
        How a task is called in messages.
    size, before
        How much of `what` a task is, and how much was done before.

    Raises
    ------
    InputError
        If `prepare` cannot be pickled.
    WorkersError
        If no worker can start.
    """
    if not tasks:
        return
    try:
        content = pickle.dumps(prepare)
    except Exception as error:
        raise InputError(
            f"the model, the data or an option cannot be sent to workers ({type(error).__name__}: {error}). Define it "
            "in a file, not in a function or a notebook, or name it as text: FILE.py:NAME."
        ) from error
    count = min(workers.count, len(tasks))
    total, done = before + sum(map(size, tasks)), before
    report(what, done, total)
    if workers.ray is None:
        outcomes = Pool(content, count, workers.threads, named).outcomes(tasks)
    else:
        outcomes = outcomes_on_ray(content, tasks, workers, count, named)
    for outcome in outcomes:
        done += size(outcome.task)
        report(what, done, total)
        yield outcome
