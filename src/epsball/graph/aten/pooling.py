"""Pooling over windows."""

import math
from collections.abc import Sequence

from epsball.graph import decompositions, kinds, operations
from epsball.graph.aten.affine import per_axis
from epsball.graph.aten.rule import Call, Operand, aten, rule
from epsball.graph.value import Value


@rule(aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default)
def max_pool(
    call: Call,
    x: Operand,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Value:
    """Return the maximum over windows; borders of -inf before it are taken for padding."""
    x = call.value(x)
    count = x.rank - 2
    border = call.builder.kind_of(x)
    if isinstance(border, kinds.Pad) and (border.mode, border.value) == ("constant", -math.inf):
        return _max_pool_of_padded(call, x, border, kernel, stride or kernel, padding, dilation)
    kind = kinds.MaxPool(
        kernel=per_axis(kernel, count),
        stride=per_axis(stride or kernel, count),
        padding=per_axis(padding, count),
        dilation=per_axis(dilation, count),
        ceil_mode=ceil_mode,
    )
    return operations.per_example(call.builder, x, kind)


def _max_pool_of_padded(
    call: Call,
    x: Value,
    border: kinds.Pad,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Value:
    """Return the maximum over what windows see of the value before its borders of -inf were added."""
    count = x.rank - 2
    inner = call.builder.before(x)
    widths = [*border.widths, *(0,) * (2 * (x.rank - 1) - len(border.widths))]
    if any(widths[2 * count :]):
        call.builder.refuse("it pads channels by -inf")
    before = widths[: 2 * count : 2][::-1]
    windows = []
    for axis, start in enumerate(before):
        length = inner.shape[2 + axis]
        size, step, pad, gap = (per_axis(numbers, count)[axis] for numbers in (kernel, stride, padding, dilation))
        places = [[i * step - pad - start + j * gap for j in range(size)] for i in range(call.shape[2 + axis])]
        windows.append([[place for place in window if 0 <= place < length] for window in places])
    if not all(map(all, windows)):
        call.builder.refuse("one of its windows holds padding alone, whose maximum is -inf")
    return decompositions.window_max(call.builder, inner, windows)


@rule(aten.max_pool1d_with_indices.default, aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def max_pool_with_indices(call: Call, *arguments: object) -> list[Value]:
    """Return the maxima; their indices have no rule."""
    return [max_pool(call, *arguments)]  # pyright: ignore[reportArgumentType]


@rule(aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default)
def average_pool(
    call: Call,
    x: Operand,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Value:
    """Return the mean over windows."""
    if divisor is not None and divisor <= 0:
        call.builder.refuse(f"its divisor is {divisor}; give a positive one")
    x = call.value(x)
    count = x.rank - 2
    kind = kinds.AveragePool(
        kernel=per_axis(kernel, count),
        stride=per_axis(stride or kernel, count),
        padding=per_axis(padding, count),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor=divisor,
    )
    return operations.per_example(call.builder, x, kind)


@rule(aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default, aten.adaptive_avg_pool3d.default)
def adaptive_average_pool(call: Call, x: Operand, size: Sequence[int]) -> Value:
    """Return the mean over windows chosen so that the result has the given size."""
    kind = kinds.AdaptiveAveragePool(size=tuple(call.shape[-len(size) :]))
    return operations.per_example(call.builder, call.value(x), kind)


@rule(aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def adaptive_max_pool(call: Call, x: Operand, size: Sequence[int]) -> list[Value]:
    """Return the maximum over windows chosen so that the result has the given size."""
    return [decompositions.adaptive_max(call.builder, call.value(x), call.shape[-len(size) :])]
