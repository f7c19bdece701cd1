"""The cascade of bounds on whole boxes: each method on what those before it left open."""

from collections.abc import Callable

import torch
from torch import Tensor

from epsball.certificates import METHODS, methods_of
from epsball.verification.deadline import Deadline
from epsball.verification.proving.task import Task

_BEFORE_SPLITS = ("interval", "crown")

_AT_ONCE = 64
"""Boxes bounded together."""

Method = Callable[..., Tensor]


def run_cascade(task: Task, deadline: Deadline, *, with_slopes: bool) -> str:
    """Refute what single bounds refute; return the name of the last method that ran.

    Parameters
    ----------
    task
        Its `open` is updated.
    deadline
        When to stop.
    with_slopes
        Whether slopes are optimised in the end: not worth it where boxes are split.
    """
    names = methods_of("auto", task.graph, "linf") if with_slopes else _BEFORE_SPLITS
    name = names[0]
    best = torch.full((*task.open.shape, task.all_rows().shape[1]), -torch.inf, dtype=torch.float64)
    for name in names:
        boxes = torch.nonzero(task.open.any(dim=1))[:, 0]
        for part in boxes.split(_AT_ONCE):
            deadline.check()
            if name == "optimised":
                _optimise(task, best, part)
            else:
                _bound(task, best, part, name)
        if task.refuted:
            break
    return name


def _bound(task: Task, best: Tensor, boxes: Tensor, name: str) -> None:
    """Bound all rows of some boxes by a method."""
    weights = task.all_rows()
    c, r, k = weights.shape
    specification = weights.view(1, c * r, k).expand(len(boxes), c * r, k)
    found = METHODS[name](task.problem(task.domain.take(boxes), specification)).rows.view(-1, c, r)
    best[boxes] = torch.maximum(best[boxes], found)
    task.open[boxes] &= ~(best[boxes] > 0).any(dim=2)


def _optimise(task: Task, best: Tensor, boxes: Tensor) -> None:
    """Bound the nearest row of each open conjunction with slopes of its own, box by box."""
    weights = task.all_rows()
    for box in boxes.tolist():
        left = torch.nonzero(task.open[box])[:, 0]
        nearest = best[box, left].argmax(dim=1)
        specification = weights[left, nearest].unsqueeze(0)
        one = torch.tensor([box])
        found = METHODS["optimised"](task.problem(task.domain.take(one), specification)).rows[0]
        task.open[box, left[found > 0]] = False
