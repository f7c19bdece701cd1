"""Concatenating, splitting and choosing by constant masks."""

import sys
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from epsball.graph import decompositions, operations
from epsball.graph.aten.rule import Call, Operand, aten, rule
from epsball.graph.value import Value


@rule(aten.cat.default, aten.concat.default, aten.concatenate.default)
def concatenate(call: Call, values: Sequence[Operand], axis: int = 0) -> Value:
    """Return tensors joined along an axis; empty vectors are ignored, as in PyTorch."""
    given = [call.value(value) for value in values]
    return operations.concatenate(call.builder, [value for value in given if value.shape != (0,)], axis)


@rule(aten.stack.default)
def stack(call: Call, values: Sequence[Operand], axis: int = 0) -> Value:
    """Return tensors joined along a new axis."""
    given = [call.value(value) for value in values]
    axis %= given[0].rank + 1
    raised = []
    for value in given:
        batch = None if value.axis is None else value.axis + (value.axis >= axis)
        raised.append(operations.reshape(call.builder, value, (*value.shape[:axis], 1, *value.shape[axis:]), batch))
    return operations.concatenate(call.builder, raised, axis)


@rule(aten.split.Tensor)
def split(call: Call, x: Operand, length: int, axis: int = 0) -> list[Value]:
    """Return pieces of one length, the last one shorter."""
    x = call.value(x)
    total = x.shape[axis]
    return operations.split(call.builder, x, axis, [min(length, total - start) for start in range(0, total, length)])


@rule(aten.split_with_sizes.default, aten.split.sizes)
def split_with_sizes(call: Call, x: Operand, lengths: Sequence[int], axis: int = 0) -> list[Value]:
    """Return pieces of the given lengths."""
    return operations.split(call.builder, call.value(x), axis, lengths)


@rule(aten.chunk.default)
def chunk(call: Call, x: Operand, count: int, axis: int = 0) -> list[Value]:
    """Return at most `count` pieces of one length, the last one shorter."""
    x = call.value(x)
    return split(call, x, -(-x.shape[axis] // count), axis)


@rule(aten.unbind.int)
def unbind(call: Call, x: Operand, axis: int = 0) -> list[Value]:
    """Return the entries of an axis, each without it."""
    x = call.value(x)
    return [operations.select(call.builder, x, axis, number) for number in range(x.shape[axis])]


@rule(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar)
def where(call: Call, mask: Operand, a: Operand, b: Operand) -> Value:
    """Return entries of a where the mask is true, else of b; the mask does not depend on the input."""
    if not isinstance(mask, Tensor):
        call.builder.refuse("which entries it takes depends on the input, so it may jump")
    return decompositions.where(call.builder, mask, call.value(a), call.value(b))


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(call: Call, x: Operand, mask: Operand, value: Operand) -> Value:
    """Return a value where the mask is true, else x."""
    return where(call, mask, value, x)


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
    """Return x with entries start, ... before `end` of an axis replaced."""
    x, source = call.value(x), call.value(source)
    axis %= x.rank
    if axis == x.axis:
        if (start or 0, end or sys.maxsize, step) != (0, sys.maxsize, 1) or source.axis != axis:
            call.builder.refuse_batch("writes to some rows of the batch")
        return source
    if step != 1:
        call.builder.refuse("it writes to every second entry, or to fewer")
    first, last, _ = slice(start, end).indices(x.shape[axis])
    parts = [
        *([operations.take(call.builder, x, axis, 0, first)] if first > 0 else []),
        source,
        *([operations.take(call.builder, x, axis, last, x.shape[axis])] if last < x.shape[axis] else []),
    ]
    return operations.concatenate(call.builder, parts, axis)
