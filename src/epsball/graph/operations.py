"""Operations on tensors of the source, whose batch may lie on any axis, as nodes, which have no batch axis.

Axes are those of the source's tensors, counted from either end; shapes are those with n = 1 (see `Value`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from epsball.graph import kinds
from epsball.graph.builder import Builder
from epsball.graph.kinds.choosing import Relation, Rounding
from epsball.graph.value import Shape, Value, batch_axis, without

Borders = Mapping[int, tuple[int, int]]
"""For axes of a tensor, how wide a border is added before and after; negative widths cut."""


def example_axes(builder: Builder, x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    """Return axes as those of one example, in order; refuse the batch axis."""
    counted = sorted({axis % x.rank for axis in axes})
    if x.axis in counted:
        builder.refuse_batch(f"works along axis {x.axis}, that of the batch")
    return tuple(x.example_axis(axis) for axis in counted)


def shaped(builder: Builder, node: str, shape: Shape) -> str:
    """Return a node with the same entries under a shape: the node itself if it already has it."""
    node = builder.unshaped(node)
    return node if builder.shape_of(node) == shape else builder.add(kinds.Reshape(shape=shape), node)


def reshape(builder: Builder, x: Value, shape: Shape, axis: int | None = None) -> Value:
    """Return x under a shape whose batch axis is `axis`; None means that it is worked out."""
    if math.prod(shape) != math.prod(x.shape):
        builder.refuse(f"shape {x.shape} does not have as many entries as {shape}")
    if x.axis is None:
        return Value(shaped(builder, x.node, shape), shape, None)
    found = batch_axis(x, shape, axis)
    if found is None:
        builder.refuse_batch(f"mixes the batch with other axes: {x.shape} to {shape}")
    result = Value("", shape, *found)
    return Value(shaped(builder, x.node, result.example), shape, *found)


def permute(builder: Builder, x: Value, axes: Sequence[int]) -> Value:
    """Return x with axis i its axis ``axes[i]``."""
    axes = [axis % x.rank for axis in axes]
    shape = tuple(x.shape[axis] for axis in axes)
    kept = tuple(x.example_axis(axis) for axis in axes if not (x.dropped and axis == x.axis))
    node = x.node if kept == tuple(range(len(kept))) else builder.add(kinds.Permute(axes=kept), x.node)
    return Value(node, shape, None if x.axis is None else axes.index(x.axis), x.outer)


def expand(builder: Builder, x: Value, shape: Shape, axis: int | None = None) -> Value:
    """Return x repeated to a shape; `axis` is the shape's batch axis, if it has one."""
    fitted = fit(builder, x, Value("", shape, axis))
    result = Value("", shape, axis, fitted.outer if x.axis is not None else 1)
    node = fitted.node
    if builder.shape_of(node) != result.example:
        node = builder.add(kinds.Expand(shape=result.example), node)
    return Value(node, shape, axis, result.outer)


def fit(builder: Builder, x: Value, like: Value) -> Value:
    """Return x with leading axes of length 1 added and its batch axis as in `like`, for broadcasting."""
    missing = like.rank - x.rank
    shape = (1,) * missing + x.shape
    if missing < 0:
        builder.refuse(f"shape {x.shape} does not broadcast to {like.shape}")
    if x.axis is None and like.axis is None:
        return Value(shaped(builder, x.node, shape), shape, None)
    if x.axis is None:
        fitted = Value("", shape, like.axis)
        example = fitted.example if like.dropped else shape
        return Value(shaped(builder, x.node, example), shape, like.axis)
    if x.axis + missing != like.axis or x.shape[x.axis] != like.shape[x.axis + missing]:
        builder.refuse_batch(f"joins {x.shape} and {like.shape}, whose batch axes differ,")
    fitted = Value("", shape, like.axis, x.outer)
    example = fitted.example if like.dropped else shape
    return Value(shaped(builder, x.node, example), shape, like.axis, x.outer)


def frame(builder: Builder, *values: Value) -> Value:
    """Return the shape and batch axis of values broadcast together, without a node."""
    rank = max(value.rank for value in values)
    shape = [1] * rank
    axes = {value.axis + rank - value.rank for value in values if value.axis is not None}
    if len(axes) > 1:
        builder.refuse_batch("joins tensors whose batch lies on different axes,")
    for value in values:
        for i, length in enumerate(value.shape, start=rank - value.rank):
            if length not in (1, shape[i]) and shape[i] != 1:
                builder.refuse(f"shapes {[value.shape for value in values]} do not broadcast")
            shape[i] = max(shape[i], length)
    axis = axes.pop() if axes else None
    for value in values:
        if axis is not None and value.axis is None and ((1,) * rank + value.shape)[axis - rank] != 1:
            builder.refuse_batch(f"meets a tensor of shape {value.shape}, which has rows of its own for the batch,")
    outers = {value.outer for value in values if value.axis is not None and not value.dropped}
    if len(outers) > 1:
        builder.refuse_batch("joins tensors whose batch is merged with other axes in different orders,")
    return Value("", tuple(shape), axis, outers.pop() if outers else 1)


def binary(builder: Builder, kind: kinds.Kind, a: Value, b: Value) -> Value:
    """Return a node of two inputs, entry by entry, with broadcasting."""
    like = frame(builder, a, b)
    node = builder.add(kind, fit(builder, a, like).node, fit(builder, b, like).node)
    return Value(node, like.shape, like.axis, like.outer)


def add(builder: Builder, a: Value, b: Value) -> Value:
    """Return a + b."""
    return binary(builder, kinds.Add(), a, b)


def subtract(builder: Builder, a: Value, b: Value) -> Value:
    """Return a - b."""
    return binary(builder, kinds.Subtract(), a, b)


def multiply(builder: Builder, a: Value, b: Value) -> Value:
    """Return a * b."""
    return binary(builder, kinds.Multiply(), a, b)


def divide(builder: Builder, a: Value, b: Value) -> Value:
    """Return a / b."""
    return binary(builder, kinds.Divide(), a, b)


def maximum(builder: Builder, a: Value, b: Value) -> Value:
    """Return max(a, b), entry by entry."""
    return binary(builder, kinds.Maximum(), a, b)


def minimum(builder: Builder, a: Value, b: Value) -> Value:
    """Return min(a, b), entry by entry."""
    return binary(builder, kinds.Minimum(), a, b)


def compare(builder: Builder, relation: Relation, a: Value, b: Value) -> Value:
    """Return 1 where a relation between a and b holds, else 0."""
    return binary(builder, kinds.Compare(relation=relation), a, b)


def rounded(builder: Builder, x: Value, direction: Rounding) -> Value:
    """Return the whole number below, above or next to x, entry by entry."""
    return same_shape(builder, x, kinds.Round(direction=direction))


def select_by(builder: Builder, c: Value, a: Value, b: Value) -> Value:
    """Return a where c is not 0, else b, with broadcasting."""
    like = frame(builder, c, a, b)
    node = builder.add(kinds.Select(), *(fit(builder, value, like).node for value in (c, a, b)))
    return Value(node, like.shape, like.axis, like.outer)


def same_shape(builder: Builder, x: Value, kind: kinds.Kind) -> Value:
    """Return a node of one input that keeps its shape."""
    return replace(x, node=builder.add(kind, x.node))


def unary(builder: Builder, x: Value, function: str, *arguments: int | float) -> Value:
    """Return f(x), entry by entry."""
    kind = kinds.Elementwise(function=function, arguments=tuple(float(number) for number in arguments))
    why = kinds.refused_arguments(function, kind.arguments)
    if why is not None:
        builder.refuse(why)
    return same_shape(builder, x, kind)


def prelu(builder: Builder, x: Value, slopes: str) -> Value:
    """Return x where x > 0, else slope * x; the parameter `slopes` holds one slope, or one per channel."""
    if builder.parameters[slopes].numel() != 1:
        whole_example(builder, x)
    return same_shape(builder, x, kinds.PReLU(slope=slopes))


def linear(builder: Builder, x: Value, weight: str, bias: str | None = None) -> Value:
    """Return x W^T + b over the last axis, W and b parameters."""
    node = builder.add(kinds.Linear(weight=weight, bias=bias), x.node)
    return Value(node, (*x.shape[:-1], len(builder.parameters[weight])), x.axis, x.outer)


def reduce(
    builder: Builder, x: Value, kind: Callable[..., kinds.Kind], axes: Sequence[int] | None, keep: bool
) -> Value:
    """Return a reduction over axes, all of the source's if None; with `keep` they stay with length 1."""
    over = [axis % x.rank for axis in (range(x.rank) if axes is None else axes)]
    node = builder.add(kind(axes=example_axes(builder, x, over)), x.node)
    shape = tuple(1 if i in over else length for i, length in enumerate(x.shape))
    kept = Value(node, shape, x.axis, x.outer)
    return kept if keep else squeeze(builder, kept, over)


def squeeze(builder: Builder, x: Value, axes: Sequence[int]) -> Value:
    """Return x without axes of length 1; if the batch is on one of them, it moves to another axis."""
    left = [i for i in range(x.rank) if i not in axes]
    axis = left.index(x.axis) if x.axis in left else None
    return reshape(builder, x, tuple(x.shape[i] for i in left), axis)


def softmax(
    builder: Builder, x: Value, axis: int, kind: type[kinds.Softmax | kinds.LogSoftmax] = kinds.Softmax
) -> Value:
    """Return the softmax over an axis, or its logarithm."""
    (over,) = example_axes(builder, x, (axis,))
    return same_shape(builder, x, kind(axis=over))


def concatenate(builder: Builder, values: Sequence[Value], axis: int) -> Value:
    """Return values concatenated along an axis; constants are broadcast to the others first."""
    rank = max(value.rank for value in values)
    axis %= rank
    batched = [value for value in values if value.axis is not None]
    like = batched[0] if batched else values[0]
    joined = []
    for value in values:
        shape = tuple(value.shape[axis] if i == axis else length for i, length in enumerate(like.shape))
        joined.append(expand(builder, value, shape, like.axis))
    (over,) = example_axes(builder, like, (axis,))
    shape = tuple(sum(v.shape[axis] for v in joined) if i == axis else n for i, n in enumerate(like.shape))
    node = builder.add(kinds.Concatenate(axis=over), *(value.node for value in joined))
    return Value(node, shape, like.axis, like.outer)


def take(builder: Builder, x: Value, axis: int, start: int, end: int, step: int = 1) -> Value:
    """Return entries start, start + step, ... before `end` of an axis, with Python's meaning of both ends."""
    axis %= x.rank
    length = x.shape[axis]
    if axis == x.axis and x.dropped and start == 0 and end >= 1 and step == 1:
        return x
    start, end, step = slice(start, end, step).indices(length)
    if (start, end, step) == (0, length, 1):
        return x
    (over,) = example_axes(builder, x, (axis,))
    kind = kinds.Slice(axis=over, start=start, end=end, step=step)
    if step < 0:
        kind = kinds.Gather(axis=over, index=tuple(range(start, end, step)))
    shape = tuple(len(range(start, end, step)) if i == axis else n for i, n in enumerate(x.shape))
    return Value(builder.add(kind, x.node), shape, x.axis, x.outer)


def split(builder: Builder, x: Value, axis: int, lengths: Sequence[int]) -> list[Value]:
    """Return consecutive pieces of an axis, of the given lengths."""
    ends = accumulate(lengths)
    return [take(builder, x, axis, end - length, end) for end, length in zip(ends, lengths, strict=True)]


def crop(builder: Builder, x: Value, borders: Borders) -> tuple[Value, Borders]:
    """Return x without the borders of negative width, and the borders that remain to be added."""
    for axis, (before, after) in borders.items():
        if before < 0 or after < 0:
            x = take(builder, x, axis, max(-before, 0), x.shape[axis] - max(-after, 0))
    return x, {axis: (max(before, 0), max(after, 0)) for axis, (before, after) in borders.items()}


def gather(builder: Builder, x: Value, axis: int, index: Sequence[int]) -> Value:
    """Return entries of an axis by index; negative ones count from the end."""
    axis %= x.rank
    (over,) = example_axes(builder, x, (axis,))
    numbers = tuple(number % x.shape[axis] if number < 0 else number for number in index)
    shape = tuple(len(numbers) if i == axis else n for i, n in enumerate(x.shape))
    return Value(builder.add(kinds.Gather(axis=over, index=numbers), x.node), shape, x.axis, x.outer)


def select(builder: Builder, x: Value, axis: int, number: int) -> Value:
    """Return the entries at one index of an axis, without that axis."""
    axis %= x.rank
    if axis == x.axis:
        builder.refuse_batch("takes one row of the batch")
    number %= x.shape[axis]
    return squeeze(builder, take(builder, x, axis, number, number + 1), (axis,))


def matmul(builder: Builder, a: Value, b: Value) -> Value:
    """Return the matrix product as `torch.matmul` defines it, vectors included."""
    rows, columns = a.rank == 1, b.rank == 1
    if rows:
        a = reshape(builder, a, (1, *a.shape), 1 if a.dropped else None)
    if columns:
        b = reshape(builder, b, (*b.shape, 1), b.axis)
    if a.axis == a.rank - 1 or b.axis == b.rank - 2:
        builder.refuse_batch("sums over the batch")
    rank = max(a.rank, b.rank)
    lead = frame(builder, *(_lead(value) for value in (a, b)))
    ends = [value.axis - value.rank for value in (a, b) if value.axis is not None and value.axis >= value.rank - 2]
    if len(ends) + (lead.axis is not None) > 1:
        builder.refuse_batch("multiplies tensors whose batch lies on different axes")
    axis = ends[0] + rank if ends else lead.axis
    result = Value("", (*lead.shape, a.shape[-2], b.shape[-1]), axis, max(a.outer, b.outer))
    apart = lead.axis if result.dropped else None
    node = builder.add(kinds.MatMul(), *(_factor(builder, value, rank, apart) for value in (a, b)))
    product = replace(result, node=shaped(builder, node, result.example))
    return squeeze(builder, product, [rank - 2] * rows + [rank - 1] * columns)


def _lead(x: Value) -> Value:
    """Return the batch axes of a factor, those before its last two."""
    return Value("", x.shape[:-2], x.axis if x.axis is not None and x.axis < x.rank - 2 else None, x.outer)


def _factor(builder: Builder, x: Value, rank: int, axis: int | None) -> str:
    """Return a factor's node with all `rank` axes of the source except `axis`."""
    return shaped(builder, x.node, without((1,) * (rank - x.rank) + x.shape, axis))


def whole_example(builder: Builder, x: Value) -> Value:
    """Return x if its first axis is the batch and nothing else, as windows need; refuse otherwise."""
    if builder.alone and x.rank and x.shape[0] == 1:
        return Value(shaped(builder, x.node, x.shape[1:]), x.shape, 0)
    if x.axis is None:
        builder.refuse("it works on a constant, not on the input")
    if x.axis != 0 or not x.dropped:
        builder.refuse(f"its batch is not the first axis alone (shape {x.shape}, batch axis {x.axis})")
    return x


def without_batch(builder: Builder, x: Value) -> Value:
    """Return x as a tensor without batch axis, all its axes being those of the one example."""
    return x if x.axis is None else Value(shaped(builder, x.node, x.shape), x.shape, None)


def per_example(builder: Builder, x: Value, kind: kinds.Kind) -> Value:
    """Return a node that takes one whole example."""
    node = builder.add(kind, whole_example(builder, x).node)
    return Value(node, (1, *builder.shape_of(node)), 0)
