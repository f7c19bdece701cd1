"""Branch and bound over neurons, where whole boxes and splits of the input left something open."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from epsball.certificates import METHODS
from epsball.errors import UnsupportedOperation
from epsball.verification.deadline import Deadline
from epsball.verification.proving.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Branched:
    """What branch and bound came to in one region.

    Parameters
    ----------
    reasons
        Why conjunctions are still open, each reason once.
    points
        Points at which the real-valued network satisfies a conjunction, or nearly: candidates for a witness, with the
        number of the box that each lies in, and of the conjunction it was met for.
    hurried
        Whether more time may refute more: some search ended by the clock.
    """

    reasons: tuple[str, ...] = ()
    points: tuple[tuple[int, int, Tensor], ...] = ()
    hurried: bool = False


def complete(task: Task, deadline: Deadline, *, seconds: float = math.inf) -> Branched:
    """Refute more of a task by branch and bound over neurons; `task.open` is updated.

    Box by box, all open conjunctions together: of a conjunction of several rows the greatest is bounded, which is
    above 0 everywhere if and only if the conjunction holds nowhere. A network with an operation that has no bounds is
    left as it is, and the reason returned.

    Parameters
    ----------
    task
        What is to be refuted.
    deadline, seconds
        When to stop, and the seconds by the clock that all boxes together may take; each may take an even part of what
        is left.
    """
    reasons: dict[str, None] = {}
    points, hurried = [], False
    boxes, turn = torch.nonzero(task.open.any(dim=1))[:, 0].tolist(), deadline.sooner(seconds)
    for number, box in enumerate(boxes):
        deadline.check()
        left = torch.nonzero(task.open[box])[:, 0]
        limit = turn.cpu_seconds(torch.get_num_threads())
        rows = torch.eye(len(task.region.conjunctions), dtype=torch.float64)[left].unsqueeze(0)
        problem = replace(
            task.problem(task.domain.take(slice(box, box + 1)), rows, graph=task.greatest),
            cpu_seconds=None if limit is None else limit / (len(boxes) - number),
        )
        try:
            found = METHODS["complete"](problem)
        except UnsupportedOperation as error:
            return Branched(reasons=(f"branch and bound is not possible: {error}",))
        proved = torch.nonzero(found.rows[0] > 0)[:, 0].tolist()
        task.refute(box, {int(left[row]): row for row in proved}, "complete", problem, found)
        searched = found.searched.get(0)
        if searched is None or not bool((found.rows <= 0).any()):
            continue
        reasons[f"branch and bound ended after {searched.parts} parts: {searched.ending}"] = None
        hurried |= searched.ending == "time"
        if searched.witness is not None:
            point = searched.witness.view(task.graph.input.shape)
            points += [(box, int(at), point) for at in left[found.rows[0] <= 0]]
    return Branched(reasons=tuple(reasons), points=tuple(points), hurried=hurried)
