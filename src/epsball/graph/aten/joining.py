"""Concatenating and splitting."""

from collections.abc import Sequence

from epsball.graph import operations
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
