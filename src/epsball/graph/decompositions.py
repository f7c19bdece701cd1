"""Operations of the source that become several nodes.

Each equals the source's operation in real numbers. The source's own kernel may round differently, which
`Graph.rewritten` records.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from epsball.graph import kinds, operations
from epsball.graph.builder import Builder
from epsball.graph.value import Value


def normalise(builder: Builder, x: Value, axes: Sequence[int], eps: int | float) -> Value:
    """Return (x - mean) / sqrt(variance + eps) with mean and biased variance over axes."""
    builder.rewrite()
    mean = operations.reduce(builder, x, kinds.Mean, axes, keep=True)
    centred = operations.subtract(builder, x, mean)
    squares = operations.unary(builder, centred, "square")
    variance = operations.reduce(builder, squares, kinds.Mean, axes, keep=True)
    deviation = operations.unary(builder, operations.add(builder, variance, builder.number(eps)), "sqrt")
    return operations.divide(builder, centred, deviation)


def scaled(builder: Builder, x: Value, weight: Value | None, bias: Value | None) -> Value:
    """Return x * weight + bias; either may be None."""
    if weight is not None:
        x = operations.multiply(builder, x, weight)
    return x if bias is None else operations.add(builder, x, bias)


def along_channels(builder: Builder, parameter: Value | None, x: Value) -> Value | None:
    """Return a vector with one entry per channel (axis 1 of x), shaped to broadcast with x."""
    if parameter is None:
        return None
    return operations.reshape(builder, parameter, (parameter.shape[0], *(1,) * (x.rank - 2)))


def group_norm(
    builder: Builder, x: Value, groups: int, weight: Value | None, bias: Value | None, eps: int | float
) -> Value:
    """Return x normalised over each of `groups` groups of channels, then scaled per channel."""
    operations.whole_example(builder, x)
    together = operations.reshape(builder, x, (1, groups, math.prod(x.shape) // groups), 0)
    normal = operations.reshape(builder, normalise(builder, together, (2,), eps), x.shape, 0)
    return scaled(builder, normal, along_channels(builder, weight, x), along_channels(builder, bias, x))


def attention(
    builder: Builder, query: Value, key: Value, value: Value, mask: Value | None, scale: int | float | None
) -> Value:
    """Return softmax(query key^T * scale + mask) value; scale 1/sqrt(width) if None."""
    builder.rewrite()
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    transposed = operations.permute(builder, key, (*range(key.rank - 2), -1, -2))
    scores = operations.multiply(builder, operations.matmul(builder, query, transposed), builder.number(scale))
    if mask is not None:
        scores = operations.add(builder, scores, mask)
    return operations.matmul(builder, operations.softmax(builder, scores, -1), value)


def power(builder: Builder, x: Value, exponent: int) -> Value:
    """Return x to a whole power of at least 1, as squares and products."""
    if exponent == 1:
        return x
    if exponent % 2 == 0:
        return operations.unary(builder, power(builder, x, exponent // 2), "square")
    return operations.multiply(builder, power(builder, x, exponent - 1), x)


def power_of_positive(builder: Builder, x: Value, exponent: int | float) -> Value:
    """Return x to any power, for positive x, as exp(exponent log x)."""
    builder.rewrite()
    logarithm = operations.unary(builder, x, "log")
    return operations.unary(builder, operations.multiply(builder, logarithm, builder.number(exponent)), "exp")


def divided_by_norm(builder: Builder, x: Value, order: int | float, axes: Sequence[int]) -> Value:
    """Return x divided by its norm over axes; 0 where the norm is 0.

    The divisor is at least 2^-126, the least normal number of float32.
    """
    builder.rewrite()
    size = norm(builder, x, order, axes, keep=True)
    return operations.divide(builder, x, operations.unary(builder, size, "clamp", 2.0**-126, math.inf))


def local_response(
    builder: Builder, x: Value, size: int, alpha: int | float, beta: int | float, bias: int | float
) -> Value:
    """Return x / (bias + alpha / size * s)^beta, s the sum of the squares in a window of `size` channels around each.

    An even window reaches one channel further up.
    """
    builder.rewrite()
    operations.whole_example(builder, x)
    squares = operations.unary(builder, x, "square")
    flat = operations.reshape(builder, squares, (1, 1, x.shape[1], math.prod(x.shape[2:])), 0)
    wide = operations.per_example(builder, flat, kinds.Pad(widths=(0, 0, (size - 1) // 2, size // 2)))
    pool = kinds.AveragePool(kernel=(size, 1), stride=(1, 1), padding=(0, 0))
    mean = operations.reshape(builder, operations.per_example(builder, wide, pool), x.shape, 0)
    scaled_mean = operations.multiply(builder, mean, builder.number(alpha))
    base = operations.add(builder, scaled_mean, builder.number(bias))
    if beta == 0.5:
        base = operations.unary(builder, base, "sqrt")
    elif beta != 1:
        base = power_of_positive(builder, base, beta)
    return operations.divide(builder, x, base)


def log1p_exp_minus_abs(builder: Builder, x: Value) -> Value:
    """Return log(1 + exp(-|x|))."""
    negative = operations.unary(builder, operations.unary(builder, x, "abs"), "negative")
    power = operations.unary(builder, negative, "exp")
    return operations.unary(builder, operations.add(builder, power, builder.number(1)), "log")


def least(builder: Builder, x: Value, axes: Sequence[int] | None, keep: bool) -> Value:
    """Return the minimum over axes (all if None), -max(-x)."""
    negative = operations.unary(builder, x, "negative")
    return operations.unary(builder, operations.reduce(builder, negative, kinds.Max, axes, keep), "negative")


def norm(builder: Builder, x: Value, order: int | float, axes: Sequence[int] | None, keep: bool) -> Value:
    """Return the norm of order 1, 2 or infinity over axes (all if None)."""
    if order == 2:
        builder.rewrite()
        squares = operations.unary(builder, x, "square")
        return operations.unary(builder, operations.reduce(builder, squares, kinds.Sum, axes, keep), "sqrt")
    if order not in (1, math.inf):
        builder.refuse(f"the norm of order {order} has no rule; 1, 2 and infinity have")
    kind = kinds.Sum if order == 1 else kinds.Max
    return operations.reduce(builder, operations.unary(builder, x, "abs"), kind, axes, keep)


def log_sum_exp(builder: Builder, x: Value, axes: Sequence[int], keep: bool) -> Value:
    """Return m + log sum exp(x - m), m the maximum over axes."""
    builder.rewrite()
    greatest = operations.reduce(builder, x, kinds.Max, axes, keep=True)
    powers = operations.unary(builder, operations.subtract(builder, x, greatest), "exp")
    total = operations.reduce(builder, powers, kinds.Sum, axes, keep=True)
    result = operations.add(builder, greatest, operations.unary(builder, total, "log"))
    return result if keep else operations.squeeze(builder, result, [axis % x.rank for axis in axes])


def variance(builder: Builder, x: Value, axes: Sequence[int], correction: int | float, keep: bool) -> Value:
    """Return sum (x - mean)^2 / (count - correction) over axes."""
    builder.rewrite()
    centred = operations.subtract(builder, x, operations.reduce(builder, x, kinds.Mean, axes, keep=True))
    squares = operations.unary(builder, centred, "square")
    total = operations.reduce(builder, squares, kinds.Sum, axes, keep)
    count = math.prod(x.shape[axis] for axis in axes)
    return operations.divide(builder, total, builder.number(count - correction))


def adaptive_max(builder: Builder, x: Value, size: Sequence[int]) -> Value:
    """Return the maxima over windows chosen so that the result has `size`.

    Window i of `size` along a length n is floor(i n / size) to ceil((i + 1) n / size).
    """
    lengths = x.shape[x.rank - len(size) :]
    windows = [
        [range(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        for n, count in zip(lengths, size, strict=True)
    ]
    return window_max(builder, x, windows)


def window_max(builder: Builder, x: Value, windows: Sequence[Sequence[Sequence[int]]]) -> Value:
    """Return the maxima over windows given for each of the last axes, one axis after the other.

    Shorter windows are filled with their last entry, which changes no maximum.
    """
    operations.whole_example(builder, x)
    for axis, along in enumerate(windows, start=x.rank - len(windows)):
        longest = max(map(len, along))
        index = [window[min(j, len(window) - 1)] for window in along for j in range(longest)]
        taken = operations.gather(builder, x, axis, index)
        shape = (*x.shape[:axis], len(along), longest, *x.shape[axis + 1 :])
        x = operations.reduce(builder, operations.reshape(builder, taken, shape, 0), kinds.Max, (axis + 1,), keep=False)
    return x


def where(builder: Builder, mask: Tensor, a: Value, b: Value) -> Value:
    """Return entries of a where a constant mask is true, else of b: a gather from both, concatenated."""
    like = operations.frame(builder, a, b, Value("", tuple(mask.shape), None))
    size = math.prod(like.example)
    numbers = torch.where(mask.expand(like.shape).reshape(-1), 0, size) + torch.arange(size)
    return rearranged(
        builder, numbers, like, [operations.expand(builder, value, like.shape, like.axis) for value in (a, b)]
    )


def rearranged(builder: Builder, numbers: Tensor, like: Value, values: Sequence[Value]) -> Value:
    """Return entries of values in the shape of `like`, by their numbers in all of them, flattened and joined."""
    sizes = [math.prod(value.example) for value in values]
    flat = [
        Value(operations.shaped(builder, value.node, (size,)), (1, size), 0)
        for value, size in zip(values, sizes, strict=True)
    ]
    taken = operations.gather(builder, operations.concatenate(builder, flat, 1), 1, numbers.reshape(-1).tolist())
    return Value(operations.shaped(builder, taken.node, like.example), like.shape, like.axis, like.outer)
