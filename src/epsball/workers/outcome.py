"""What becomes of a task."""

from dataclasses import dataclass
from typing import Any

from epsball.errors import EpsballError

TRIES = 3
"""How often a task is tried whose worker dies."""


class WorkersError(EpsballError):
    """Tasks that were given up because their workers died, or workers that cannot start (exit code 1)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A task that is done, or was given up.

    Parameters
    ----------
    task
        The task.
    result
        What it returned; None where it was given up.
    tries
        How often it was begun.
    lost
        How its workers died, where it was given up.
    """

    task: Any
    result: Any = None
    tries: int = 1
    lost: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A task as a worker gets it.

    Parameters
    ----------
    task
        The task.
    tries
        The number of this try, from 1.
    """

    task: Any
    tries: int
