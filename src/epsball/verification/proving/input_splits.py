"""Branch and bound over the input: boxes are bounded, clipped and halved until each is refuted or holds a witness."""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball.certificates import Box, Domain, Propagation
from epsball.certificates.branching.division.boxes import Boxes, clipped, taken
from epsball.certificates.branching.division.lines import bounded_twice, moved_by_inputs, widest
from epsball.certificates.linear import refiner
from epsball.graph import Node
from epsball.progress import report
from epsball.verification.deadline import Deadline
from epsball.verification.proving.batch_size import BatchSize
from epsball.verification.proving.task import Task
from epsball.verification.search import Search

_MOST = 4096
"""Boxes bounded together."""

_OLDEST = 4
"""Every so many steps the oldest boxes are taken."""


class InputSplits:
    """A branch and bound in one region.

    A box is refuted for a conjunction where one of its rows is above 0 in all of it. Where none is, every row clips it.
    What is left is halved across the input whose width times `influence` on the row nearest to 0 is largest. Both
    halves hold their common face, so that they cover the box.

    Parameters
    ----------
    task
        What is to be refuted; its `open` is updated.
    search
        Judges the middles of boxes, and the corners at which lines are least.

    Attributes
    ----------
    bounded
        How many boxes were bounded.
    closed
        The share of what was open that the last call of `run` closed.
    stuck
        How many are given up: too small for their bounds' rounding, or without a float of the network's type.

    References
    ----------
    Wang et al., "Formal security analysis of neural networks using symbolic intervals" (USENIX Security 2018).
    """

    def __init__(self, task: Task, search: Search) -> None:
        self.task, self.search = task, search
        self.bounded = self.stuck = self._steps = 0
        self.closed = 0.0
        self._size = BatchSize(most=_MOST)
        self._weights = task.all_rows()
        self._shape = task.graph.input.shape
        case, conjunction = torch.nonzero(task.open).T
        ends = [end.flatten(1)[case] for end in task.domain.box]
        self._widths = (task.domain.box.high - task.domain.box.low).flatten(1)
        self._stack = [Boxes(low=ends[0], high=ends[1], case=case, conjunction=conjunction)]

    def run(self, deadline: Deadline, *, seconds: float = math.inf) -> bool:
        """Refute boxes; return whether no box is left to be bounded. A later call goes on.

        Parameters
        ----------
        deadline, seconds
            When to stop, and after how many seconds to return with boxes left.

        Raises
        ------
        TimeUp
            If the time is up.
        Found
            If a witness was found.
        """
        turn, before = deadline.sooner(seconds), self._share()
        while self._stack and turn.left > 0:
            deadline.check()
            with self._size.measured(min(self._size.now, sum(map(len, self._stack)))):
                self.step(self._size.now)
            report("boxes bounded", self.bounded, 0)
        self.closed = 1.0 - self._share() / before if before > 0 else 0.0
        self._settle()
        return not self._stack

    def forget(self) -> None:
        """Drop the boxes of conjunctions that were refuted by other means."""
        parts = [boxes.take(self.task.open[boxes.case, boxes.conjunction]) for boxes in self._stack]
        self._stack = [boxes for boxes in parts if len(boxes)]

    def _settle(self) -> None:
        """Enter what is refuted: the conjunctions of boxes of which nothing is left, where nothing is given up."""
        if self.stuck:
            return
        left = torch.zeros_like(self.task.open)
        for boxes in self._stack:
            left[boxes.case, boxes.conjunction] = True
        if self.task.record is not None and bool((self.task.open & ~left).any()):
            self.task.record.missing = "input splits"
        self.task.open &= left

    def _share(self) -> float:
        """Return which share of their domains the boxes left fill, summed over conjunctions."""
        return sum((float(self._shares(boxes).sum()) for boxes in self._stack), start=0.0)

    def _shares(self, boxes: Boxes) -> Float[Tensor, " n"]:
        whole = self._widths[boxes.case]
        sides = (boxes.high - boxes.low) / torch.where(whole > 0, whole, 1.0)
        return torch.where(whole > 0, sides, 1.0).prod(dim=1)

    def step(self, size: int) -> int:
        """Bound, clip and halve at most so many boxes; return how many."""
        boxes = self._taken(size)
        self._push(*self._left(boxes))
        self.bounded += len(boxes)
        return len(boxes)

    def _taken(self, size: int) -> Boxes:
        """Take the newest boxes, whose bounds are lowest, and at times the oldest, which are large.

        At a jump of the network the lowest bounds stay below 0 however small the boxes: who follows them alone sees
        nothing else.
        """
        self._steps += 1
        if self._steps % _OLDEST:
            return taken(self._stack, size)
        oldest = [self._stack.pop(0)]
        boxes = taken(oldest, size)
        self._stack[:0] = oldest
        return boxes

    @property
    def left(self) -> Box:
        """The boxes that are open, (n, d)."""
        nothing = self._widths[:0]
        ends = ([nothing, *(getattr(boxes, end) for boxes in self._stack)] for end in ("low", "high"))
        return Box(*map(torch.cat, ends))

    def _left(self, boxes: Boxes) -> tuple[Boxes, Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """Return what is left of boxes, with the influence of each input and the bound of the row nearest to 0."""
        boxes, bounds, lines, influences = self._bounded(boxes)
        open_ = torch.nonzero(~(bounds > 0).any(dim=1))[:, 0]
        boxes, bounds, lines, influences = boxes.take(open_), bounds[open_], lines[open_], influences[open_]
        if len(boxes):
            self._judge(boxes, lines[torch.arange(len(boxes)), bounds.argmax(dim=1)])
            hopeless = self._hopeless(boxes)
            self.stuck += int(hopeless.sum())
            boxes = clipped(boxes, bounds, lines)
            kept = (boxes.low <= boxes.high).all(dim=1) & ~hopeless
        else:
            kept = open_
        return boxes.take(kept), influences[kept], bounds[kept].amax(dim=1)

    def _bounded(
        self, boxes: Boxes
    ) -> tuple[Boxes, Float[Tensor, "n r"], Float[Tensor, "n r d"], Float[Tensor, "n d"]]:
        """Return the boxes with bounds of their nodes, bounds of the rows, their lines, and the inputs' influence."""
        low, high = (end.view(-1, *self._shape) for end in (boxes.low, boxes.high))
        domain = Domain(box=Box(low, high), centre=0.5 * low + 0.5 * high, norm="linf", radius=0.0)
        problem = self.task.problem(domain, self._weights[boxes.conjunction])
        refine, nodes = refiner(self.task.max_memory), {}

        def kept(bounds: Propagation, node: Node) -> Box:
            before = bounds.boxes[node.name]
            box = refine(bounds, node)
            if box is not before or node.name in boxes.nodes:
                nodes[node.name] = box
            return box

        bounds = problem.propagate(boxes=boxes.nodes, refine=kept)
        lows, lines = bounded_twice(bounds, problem.specification)
        nearest, number = lows.argmax(dim=1), torch.arange(len(boxes))
        row = problem.specification[number, nearest % problem.specification.shape[1]]
        moved = moved_by_inputs(bounds, row, lines[number, nearest], boxes)
        return replace(boxes, nodes=nodes), lows, lines, moved

    def _judge(self, boxes: Boxes, line: Tensor) -> None:
        """Judge the middles, and the corners at which the lines are least, as floats of the network's type."""
        region = self.search.region
        corners = torch.where(line > 0, boxes.low, boxes.high)
        points = torch.cat([0.5 * boxes.low + 0.5 * boxes.high, corners]).to(region.low.dtype).view(-1, *self._shape)
        case = boxes.case.repeat(2)
        points = points.clamp(region.low[case], region.high[case])
        self.search.at(points[region.searchable[case]])

    def _hopeless(self, boxes: Boxes) -> Bool[Tensor, " n"]:
        """Return which boxes can hold no witness and are satisfied, in real numbers, in their middle."""
        hopeless = ~self.search.region.searchable[boxes.case]
        if bool(hopeless.any()):
            middles = (0.5 * boxes.low + 0.5 * boxes.high).view(-1, *self._shape)
            gaps = self.search.real_gaps(middles).gather(1, boxes.conjunction.unsqueeze(1))[:, 0]
            hopeless &= gaps <= 0
        return hopeless

    def _push(self, boxes: Boxes, influences: Tensor, bound: Tensor) -> None:
        """Halve boxes and push the halves, the lowest bounds on top."""
        best, across, middle = widest(boxes, influences, self._widths[boxes.case])
        self.stuck += int((best < 0).sum())
        order = torch.argsort(bound, descending=True)
        order = order[best[order] >= 0]
        if len(order):
            self._stack.append(boxes.take(order).halves(across[order], middle[order]))
