"""Branch and bound over the input: boxes are bounded, clipped and halved until each is refuted or holds a witness."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from epsball.certificates import Box, Domain, Propagation
from epsball.certificates.linear import refiner
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import final_lines
from epsball.graph import Node
from epsball.progress import report
from epsball.verification.deadline import Deadline
from epsball.verification.proving.influence import influence
from epsball.verification.proving.task import Task
from epsball.verification.search import Search

_FIRST, _MOST = 16, 4096
_SHARE = 0.1
_LEAST = 2.0**-44
"""Share of the whole box's width below which an input is not halved: bounds change by less than their rounding."""

_SECONDS = 0.4
"""What bounding a batch is to take; the number of its boxes follows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Boxes:
    """Boxes that are open, each for one conjunction.

    Parameters
    ----------
    low, high
        Their ends, (n, d), float64.
    case, conjunction
        The numbers of the case that a box is a part of, and of the conjunction, (n,).
    nodes
        Bounds on some nodes of the network that hold in all of the box, by name.
    """

    low: Tensor
    high: Tensor
    case: Tensor
    conjunction: Tensor
    nodes: Mapping[str, Box] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.low)

    def take(self, rows: Tensor | slice) -> "_Boxes":
        return _Boxes(
            low=self.low[rows],
            high=self.high[rows],
            case=self.case[rows],
            conjunction=self.conjunction[rows],
            nodes={name: Box(box.low[rows], box.high[rows]) for name, box in self.nodes.items()},
        )


class InputSplits:
    """A branch and bound in one region.

    A box is refuted for a conjunction where one of its rows is above 0 in all of it. Where none is, every row clips it:
    a row v that is at least L + A . x - least A . x is above 0 where an input j is further than -L / abs(A_j) from the
    end at which A_j x_j is least. What is left is halved across the input whose width times `influence` on the row
    nearest to 0 is largest. Both halves hold their common face, so that they cover the box.

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
    stuck
        How many are given up: too small for their bounds' rounding, or without a float of the network's type.

    References
    ----------
    Wang et al., "Formal security analysis of neural networks using symbolic intervals" (USENIX Security 2018); clipping
    after Zhou et al., "Clip-and-Verify" (NeurIPS 2025), here by one line at a time.
    """

    def __init__(self, task: Task, search: Search) -> None:
        self.task, self.search = task, search
        self.bounded = self.stuck = 0
        self._weights = task.all_rows()
        self._shape = task.graph.input.shape
        case, conjunction = torch.nonzero(task.open).T
        ends = [end.flatten(1)[case] for end in task.domain.box]
        self._widths = (task.domain.box.high - task.domain.box.low).flatten(1)
        self._stack = [_Boxes(low=ends[0], high=ends[1], case=case, conjunction=conjunction)]

    def run(self, deadline: Deadline) -> bool:
        """Refute all boxes; return whether that was done, False where some are stuck.

        Raises
        ------
        TimeUp
            If the time is up.
        Found
            If a witness was found.
        """
        size = _FIRST
        while self._stack:
            deadline.check()
            begun = time.perf_counter()
            done = self.step(size)
            taken = time.perf_counter() - begun
            report("boxes bounded", self.bounded, 0)
            if done == size:
                size = max(1, size // 2) if taken > 2 * _SECONDS else min(_MOST, 2 * size) if taken < _SECONDS else size
        if not self.stuck:
            self.task.open[:] = False
        return not self.stuck

    def step(self, size: int) -> int:
        """Bound, clip and halve at most so many boxes; return how many."""
        boxes = self._taken(size)
        self._push(*self._left(boxes))
        self.bounded += len(boxes)
        return len(boxes)

    @property
    def left(self) -> Box:
        """The boxes that are open, (n, d)."""
        nothing = self._widths[:0]
        ends = ([nothing, *(getattr(boxes, end) for boxes in self._stack)] for end in ("low", "high"))
        return Box(*map(torch.cat, ends))

    def _taken(self, size: int) -> _Boxes:
        """Take boxes from the top of the stack."""
        parts: list[_Boxes] = []
        while self._stack and size > 0:
            top = self._stack.pop()
            if len(top) > size:
                self._stack.append(top.take(slice(0, len(top) - size)))
                top = top.take(slice(len(top) - size, len(top)))
            parts.append(top)
            size -= len(top)
        return _joined(parts)

    def _left(self, boxes: _Boxes) -> tuple[_Boxes, Float[Tensor, "n d"], Float[Tensor, " n"]]:
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
        self, boxes: _Boxes
    ) -> tuple[_Boxes, Float[Tensor, "n r"], Float[Tensor, "n r d"], Float[Tensor, "n d"]]:
        """Return the boxes with bounds of their nodes, bounds of the rows, their lines, and the inputs' influence.

        Every row is bounded twice, with the relaxations' own lower slopes and with those of the chords.
        """
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
        found = [final_lines(bounds, problem.specification, slopes) for slopes in ({}, _chord_slopes(bounds))]
        lines = torch.cat([lines.flatten(2) for _, lines in found], dim=1).nan_to_num(0.0, 0.0, 0.0)
        lows = torch.cat([low for low, _ in found], dim=1)
        nearest = lows.argmax(dim=1)
        columns, number = influence(bounds), torch.arange(len(boxes))
        if columns is None:
            size = lines[number, nearest].abs() * (boxes.high - boxes.low)
            # A line of 0 says nothing about what its relaxations hide: each input counts for a share.
            moved = (size + _SHARE * size.mean(dim=1, keepdim=True)) / (boxes.high - boxes.low)
        else:
            row = problem.specification[number, nearest % problem.specification.shape[1]].abs()
            moved = (columns * row.unsqueeze(1)).sum(dim=2)
        return replace(boxes, nodes=nodes), lows, lines, moved.nan_to_num(0.0, 0.0, 0.0)

    def _judge(self, boxes: _Boxes, line: Tensor) -> None:
        """Judge the middles, and the corners at which the lines are least, as floats of the network's type."""
        region = self.search.region
        corners = torch.where(line > 0, boxes.low, boxes.high)
        points = torch.cat([0.5 * boxes.low + 0.5 * boxes.high, corners]).to(region.low.dtype).view(-1, *self._shape)
        case = boxes.case.repeat(2)
        points = points.clamp(region.low[case], region.high[case])
        self.search.at(points[region.searchable[case]])

    def _hopeless(self, boxes: _Boxes) -> Bool[Tensor, " n"]:
        """Return which boxes can hold no witness and are satisfied, in real numbers, in their middle."""
        hopeless = ~self.search.region.searchable[boxes.case]
        if bool(hopeless.any()):
            middles = (0.5 * boxes.low + 0.5 * boxes.high).view(-1, *self._shape)
            gaps = self.search.real_gaps(middles).gather(1, boxes.conjunction.unsqueeze(1))[:, 0]
            hopeless &= gaps <= 0
        return hopeless

    def _push(self, boxes: _Boxes, influences: Tensor, bound: Tensor) -> None:
        """Halve boxes and push the halves, the lowest bounds on top."""
        middle = 0.5 * boxes.low + 0.5 * boxes.high
        width = boxes.high - boxes.low
        divides = (boxes.low < middle) & (middle < boxes.high) & (width > _LEAST * self._widths[boxes.case])
        score = (influences * width).masked_fill(~divides, -1.0)
        best, across = score.max(dim=1)
        self.stuck += int((best < 0).sum())
        order = torch.argsort(bound, descending=True)
        order = order[best[order] >= 0]
        if not len(order):
            return
        boxes, across, middle = boxes.take(order), across[order].unsqueeze(1), middle[order]
        cut = middle.gather(1, across)
        self._stack.append(
            _joined(
                [
                    replace(boxes, high=boxes.high.scatter(1, across, cut)),
                    replace(boxes, low=boxes.low.scatter(1, across, cut)),
                ]
            ).take(_interleaved(len(order)))
        )


def clipped(boxes: _Boxes, bounds: Float[Tensor, "n r"], lines: Float[Tensor, "n r d"]) -> _Boxes:
    """Return boxes without what lies beyond any row's line; see `InputSplits`.

    The room -L / abs(A_j) is rounded up by 2^-50 of itself, and the new end outward by one float.
    """
    room = (-bounds).clamp(min=0).unsqueeze(2) / lines.abs() * (1 + 2.0**-50)
    room = torch.where(lines == 0, math.inf, room).nan_to_num(math.inf, math.inf)
    infinity = torch.tensor(math.inf, dtype=room.dtype)
    highest = torch.where(lines > 0, room, math.inf).amin(dim=1)
    lowest = torch.where(lines < 0, room, math.inf).amin(dim=1)
    high = torch.minimum(boxes.high, torch.nextafter(boxes.low + highest, infinity))
    low = torch.maximum(boxes.low, torch.nextafter(boxes.high - lowest, -infinity))
    return replace(boxes, low=low, high=high)


def _joined(parts: list[_Boxes]) -> _Boxes:
    shared = set.intersection(*(set(part.nodes) for part in parts))
    return _Boxes(
        low=torch.cat([part.low for part in parts]),
        high=torch.cat([part.high for part in parts]),
        case=torch.cat([part.case for part in parts]),
        conjunction=torch.cat([part.conjunction for part in parts]),
        nodes={
            name: Box(*(torch.cat(ends) for ends in zip(*(part.nodes[name] for part in parts), strict=True)))
            for name in shared
        },
    )


def _interleaved(count: int) -> Int[Tensor, " n"]:
    """Return 0, count, 1, count + 1, ...: halves beside each other."""
    return torch.arange(2 * count).view(2, count).T.flatten()


def _chord_slopes(bounds: Propagation) -> dict[str, Tensor]:
    """Return for each rectifier the slope of its chord as the lower one."""
    limits = slope_limits(bounds)
    return {name: bounds.relaxation(bounds.graph[name]).upper_slope.clamp(*limits[name]) for name in limits}
