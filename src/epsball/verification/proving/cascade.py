"""The cascade of bounds on whole boxes: each method on what those before it left open."""

import torch
from torch import Tensor

from epsball.certificates import METHODS, methods_of
from epsball.verification.deadline import Deadline
from epsball.verification.proving.task import Task

_BEFORE_SPLITS = ("interval", "crown")

_STEPS = 40
"""Steps for a row alone."""

_AT_ONCE = 64
"""Boxes bounded together."""


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
                _optimise(task, best, part, deadline)
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
    problem = task.problem(task.domain.take(boxes), specification)
    found = METHODS[name](problem)
    rows = found.rows.view(-1, c, r)
    best[boxes] = torch.maximum(best[boxes], rows)
    nearest = rows.argmax(dim=2)
    proved = task.open[boxes] & (rows > 0).any(dim=2)
    for at in torch.nonzero(proved.any(dim=1))[:, 0].tolist():
        refuted = torch.nonzero(proved[at])[:, 0].tolist()
        by_row = {conjunction: conjunction * r + int(nearest[at, conjunction]) for conjunction in refuted}
        task.refute(int(boxes[at]), by_row, name, problem, found, at)


def _optimise(task: Task, best: Tensor, boxes: Tensor, deadline: Deadline) -> None:
    """Bound the nearest row of each open conjunction with slopes of its own, box by box.

    First all together; then, each alone and with more steps, those that are left, the nearest first: slopes of
    intermediate bounds are optimised where every row bounded is within reach.
    """
    weights = task.all_rows()
    for box in boxes.tolist():
        domain = task.domain.take(torch.tensor([box]))
        left = torch.nonzero(task.open[box])[:, 0]
        nearest = best[box, left].argmax(dim=1)
        problem = task.problem(domain, weights[left, nearest].unsqueeze(0))
        bounds = METHODS["optimised"](problem)
        found = bounds.rows[0]
        by_row = {int(left[row]): row for row in torch.nonzero(found > 0)[:, 0].tolist()}
        task.refute(box, by_row, "optimised", problem, bounds)
        for at in torch.argsort(found, descending=True).tolist():
            if found[at] > 0:
                continue
            deadline.check()
            alone = task.problem(domain, weights[left[at], nearest[at]].view(1, 1, -1))
            bounds = METHODS["optimised"](alone, steps=_STEPS)
            if not bool((bounds.rows > 0).all()):
                return
            task.refute(box, {int(left[at]): 0}, "optimised", alone, bounds)
