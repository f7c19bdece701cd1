"""The cascade of bounds on whole boxes: each method on what those before it left open."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.certificates import METHODS
from epsball.verification.deadline import Deadline
from epsball.verification.proving.batch_size import BatchSize
from epsball.verification.proving.task import Task

BEFORE_SPLITS = ("interval", "crown")
"""Methods for boxes that are split afterwards."""

OPTIMISED = "optimised"
"""The method that optimises slopes, here for the nearest rows alone."""

_STEPS = 40
"""Steps for a row alone."""

_AT_ONCE = 64
"""Boxes bounded together."""

_ALONE = 0.1
"""Share of the time left for rows alone: branch and bound optimises their slopes too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cascade:
    """What the cascade came to.

    Parameters
    ----------
    last
        The method that ran last, None where none did.
    seconds
        Seconds by the clock that it took per box.
    best
        The best bounds of every row of every conjunction of every box, (n, c, r), or None.
    """

    last: str | None = None
    seconds: float = 0.0
    best: Tensor | None = None


def run_cascade(task: Task, names: Sequence[str], deadline: Deadline, before: Cascade | None = None) -> Cascade:
    """Refute what single bounds refute.

    Parameters
    ----------
    task
        Its `open` is updated.
    names
        The methods, in the order of their cost.
    deadline
        When to stop.
    before
        What an earlier cascade came to.
    """
    best = None if before is None else before.best
    if best is None:
        best = torch.full((*task.open.shape, task.all_rows().shape[1]), -torch.inf, dtype=torch.float64)
    name, size = names[0], BatchSize(most=_AT_ONCE)
    for name in names:
        size = BatchSize(most=_AT_ONCE)
        left = torch.nonzero(task.open.any(dim=1))[:, 0]
        while len(left):
            part, left = left[: size.now], left[size.now :]
            deadline.check()
            with size.measured(len(part)):
                if name == OPTIMISED:
                    _optimise(task, best, part, deadline)
                else:
                    _bound(task, best, part, name)
        if task.refuted:
            break
    return Cascade(last=name, seconds=size.each, best=best)


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
    intermediate bounds are optimised where every row bounded is within reach. Rows alone are left out where one would
    take more than `_ALONE` of the time.
    """
    weights = task.all_rows()
    for box in boxes.tolist():
        domain = task.domain.take(torch.tensor([box]))
        left = torch.nonzero(task.open[box])[:, 0]
        nearest = best[box, left].argmax(dim=1)
        problem = task.problem(domain, weights[left, nearest].unsqueeze(0))
        begun = time.perf_counter()
        bounds = METHODS["optimised"](problem)
        seconds = time.perf_counter() - begun
        found = bounds.rows[0]
        by_row = {int(left[row]): row for row in torch.nonzero(found > 0)[:, 0].tolist()}
        task.refute(box, by_row, "optimised", problem, bounds)
        for at in torch.argsort(found, descending=True).tolist():
            if found[at] > 0:
                continue
            if seconds > _ALONE * deadline.left:
                break
            deadline.check()
            alone = task.problem(domain, weights[left[at], nearest[at]].view(1, 1, -1))
            bounds = METHODS["optimised"](alone, steps=_STEPS)
            if not bool((bounds.rows > 0).all()):
                return
            task.refute(box, {int(left[at]): 0}, "optimised", alone, bounds)
