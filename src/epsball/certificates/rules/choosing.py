"""Rules of comparisons and of the choice by one: where it is decided, exact; elsewhere what lies on both sides."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64, Format
from epsball.certificates.box import Box
from epsball.certificates.rules.rule import BackwardBound, NodeContext, Rule
from epsball.certificates.tensors import dot, split, summed_to


class Truth(NamedTuple):
    """Where a relation holds at every point, and where at none."""

    always: Tensor
    never: Tensor


class Comparison(Rule):
    """y = 1 where a relation between a and b holds, else 0."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return 1 where the boxes decide for the relation, 0 where against it, else both."""
        found = _truth(context.kind.relation, *boxes)
        return Box(found.always.to(boxes[0].low.dtype), (~found.never).to(boxes[0].low.dtype))

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return 1 where numbers that are taken for 0 may decide otherwise."""
        if not format.flushes:
            return 0.0
        decided = _decided(_truth(context.kind.relation, *boxes))
        flushed = _decided(_truth(context.kind.relation, *(_with_zero(given, format.tiny) for given in boxes)))
        return (decided & ~flushed).to(box.low.dtype)

    def floor(self, context: NodeContext, boxes: Sequence[Box]) -> Tensor | float:
        """Return 0."""
        return 0.0

    def unstable(self, context: NodeContext, boxes: Sequence[Box]) -> Sequence[Tensor]:
        """Return where nothing is decided, but for inputs that are repeated, where anything varies."""
        open_ = ~_decided(_truth(context.kind.relation, *boxes))
        return [
            open_ if box.low.shape[1:] == open_.shape[1:] and len(box.low) == len(open_) else box.high > box.low
            for box in boxes
        ]

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the interval."""
        return self.interval(context, boxes)

    def backward(self, context: NodeContext, relaxation: Box, rows: Tensor) -> BackwardBound:
        """Return the least value over the interval, and no rows over the inputs."""
        constant, error = _least(relaxation, rows)
        nothing = [rows.new_zeros(*rows.shape[:2], *context.shape(position)) for position in range(2)]
        return BackwardBound(nothing, constant, error)


class Selected(NamedTuple):
    """Which of two values is taken at every point, as factors 0 and 1, its size, and the box where that is open."""

    first: Tensor
    second: Tensor
    size: Tensor
    rest: Box


class Selection(Rule):
    """y = a where c is not 0, else b."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the box of the one that is taken, or what contains both."""
        c, a, b = boxes
        first, second = _taken(c)
        low = torch.where(first, a.low, torch.where(second, b.low, torch.minimum(a.low, b.low)))
        high = torch.where(first, a.high, torch.where(second, b.high, torch.maximum(a.high, b.high)))
        return Box(low, high)

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> Selected:
        """Return what is taken, and the box where that is open."""
        low, high = self.interval(context, boxes)
        first, second = (part.expand(low.shape) for part in _taken(boxes[0]))
        decided = first | second
        rest = Box(low.masked_fill(decided, 0.0), high.masked_fill(decided, 0.0))
        size = torch.maximum(-low, high).masked_fill(~decided, 0.0)
        return Selected(first.to(low.dtype), second.to(low.dtype), size, rest)

    def backward(self, context: NodeContext, relaxation: Selected, rows: Tensor) -> BackwardBound:
        """Return the rows over the one that is taken, summed where it is repeated; elsewhere the box's least value."""
        constant, error = _least(relaxation.rest, rows)
        error = error + BINARY64.gamma(rows[0, 0].numel()) * dot(rows.abs(), relaxation.size)
        over = (rows * part.unsqueeze(1) for part in (relaxation.first, relaxation.second))
        parts = [
            summed_to(part.flatten(0, 1), context.shape(position)).unflatten(0, rows.shape[:2])
            for position, part in enumerate(over, start=1)
        ]
        return BackwardBound([rows.new_zeros(*rows.shape[:2], *context.shape(0)), *parts], constant, error)


def _truth(relation: str, a: Box, b: Box) -> Truth:
    if relation in ("lt", "le"):
        a, b, relation = b, a, {"lt": "gt", "le": "ge"}[relation]
    if relation == "gt":
        return Truth(a.low > b.high, a.high <= b.low)
    if relation == "ge":
        return Truth(a.low >= b.high, a.high < b.low)
    equal = (a.low == a.high) & (b.low == b.high) & (a.low == b.low)
    apart = (a.high < b.low) | (a.low > b.high)
    return Truth(equal, apart) if relation == "eq" else Truth(apart, equal)


def _with_zero(box: Box, tiny: float) -> Box:
    """Return the box with 0, where it holds numbers below `tiny`."""
    small = (box.low < tiny) & (box.high > -tiny)
    return Box(
        torch.where(small, box.low.clamp(max=0.0), box.low), torch.where(small, box.high.clamp(min=0.0), box.high)
    )


def _decided(truth: Truth) -> Tensor:
    return truth.always | truth.never


def _taken(c: Box) -> tuple[Tensor, Tensor]:
    """Return where c is never 0, and where it always is."""
    return (c.low > 0) | (c.high < 0), (c.low == 0) & (c.high == 0)


def _least(box: Box, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least value of rows over a box, and its rounding."""
    positive, negative = split(rows)
    constant = dot(positive, box.low) + dot(negative, box.high)
    return constant, BINARY64.gamma(rows[0, 0].numel() + 3) * dot(rows.abs(), box.magnitude)
