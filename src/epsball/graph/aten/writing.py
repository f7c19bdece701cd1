"""Writing to some entries of a tensor, in place or not."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from epsball.graph import decompositions, operations
from epsball.graph.aten import choosing
from epsball.graph.aten.rule import Call, Operand, aten, rule
from epsball.graph.value import Value


@rule(aten.copy.default)
def copy(call: Call, x: Operand, source: Operand, *_: Any) -> Value:
    """Return the source, broadcast to the shape of x."""
    return operations.expand(call.builder, call.value(source), call.shape, call.axis)


@rule(aten.slice_scatter.default)
def slice_scatter(
    call: Call,
    x: Operand,
    source: Operand,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    """Return x with entries start, start + step, ... before `end` of an axis replaced."""
    x, source = call.value(x), call.value(source)
    axis %= x.rank
    if axis == x.axis:
        if (start or 0, end or sys.maxsize, step) != (0, sys.maxsize, 1) or source.axis != axis:
            call.builder.refuse_batch("writes to some rows of the batch")
        return source
    first, last, _ = slice(start, end).indices(x.shape[axis])
    if step != 1:
        length = len(range(first, last, step))
        source = operations.expand(
            call.builder, source, tuple(length if i == axis else n for i, n in enumerate(x.shape)), x.axis
        )
        places, sources = _numbered(x, 0), _numbered(source, math.prod(x.shape))
        numbers = torch.slice_scatter(places, sources, axis, first, last, step)
        return decompositions.rearranged(call.builder, numbers, x, [x, source])
    parts = [
        *([operations.take(call.builder, x, axis, 0, first)] if first > 0 else []),
        source,
        *([operations.take(call.builder, x, axis, last, x.shape[axis])] if last < x.shape[axis] else []),
    ]
    return operations.concatenate(call.builder, parts, axis)


@rule(aten.scatter.value, aten.scatter.src)
def scatter(call: Call, x: Operand, axis: int, index: Operand, source: Operand) -> Value:
    """Return x with entries replaced along an axis, at places that do not depend on the input."""
    builder, x, source = call.builder, call.value(x), call.value(source)
    given, places = call.value(index), _whole_numbers(call, index)
    axis %= x.rank
    if x.axis is None or x.axis == axis or given.axis != x.axis:
        builder.refuse_batch("writes along the batch, or to some rows of it")
    numbers = places.reshape(given.shape)
    if source.rank and bool((numbers.sort(dim=axis).values.diff(dim=axis) == 0).any()):
        builder.refuse("it writes to one place twice, and which value stays is not said")
    if not source.rank:
        source = operations.expand(builder, source, given.shape, x.axis)
    written = _numbered(x, 0).scatter(axis, numbers, _numbered(source, math.prod(x.shape)))
    return decompositions.rearranged(builder, written, x, [x, source])


@rule(aten.index_put.default)
def index_put(
    call: Call, x: Operand, indices: Sequence[Operand | None], values: Operand, accumulate: bool = False
) -> Value:
    """Return x with entries replaced that a mask, or numbers along some axes, choose."""
    builder, x, values = call.builder, call.value(x), call.value(values)
    if accumulate:
        builder.refuse("it adds to entries")
    if len(indices) == 1 and isinstance(indices[0], Value) and indices[0].axis is not None:
        if not values.rank:
            return choosing.where(call, indices[0], values, x)
        builder.refuse("where it writes depends on the input")
    if x.axis is None or (x.axis < len(indices) and indices[x.axis] is not None):
        builder.refuse_batch("writes to some rows of the batch")
    if values.axis is not None and (sum(i is not None for i in indices) > 1 or values.rank != x.rank):
        builder.refuse("it writes values at places along several axes; write along one axis after the other")
    numbers = _numbered(x, 0)
    places = tuple(slice(None) if index is None else _whole_numbers(call, index) for index in indices)
    numbers[places] = _numbered(values, math.prod(x.shape))
    source = values if values.axis is not None else operations.expand(builder, values, (1, *values.shape), 0)
    return decompositions.rearranged(builder, numbers, x, [x, source])


def _numbered(x: Value, start: int) -> Tensor:
    """Return the numbers of a tensor's entries, in its shape for one example."""
    return start + torch.arange(math.prod(x.shape)).view(x.shape)


def _whole_numbers(call: Call, index: Operand) -> Tensor:
    """Return an index that does not depend on the input."""
    if isinstance(index, Tensor):
        return index if index.dtype == torch.bool else index.long()
    found = call.builder.constant(call.value(index))
    if found is None:
        call.builder.refuse("where it writes depends on the input")
    return found.long()
