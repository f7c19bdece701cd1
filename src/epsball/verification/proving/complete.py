"""The seam for a complete method on networks of many inputs: branching on neurons."""

from epsball.verification.deadline import Deadline
from epsball.verification.proving.task import Task


def complete(task: Task, deadline: Deadline) -> None:
    """Refute more of a task by branch and bound over neurons; today there is none, and nothing is refuted.

    ``task.problem(task.domain.take(boxes), rows)`` is the problem to be decided: the domain of some boxes, and rows of
    which one per open conjunction (``task.all_rows()``) must be shown above 0. What is shown is entered in
    ``task.open``.
    """
