"""Pooling over windows."""

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
    """Return the maximum over windows."""
    x = call.value(x)
    count = x.rank - 2
    kind = kinds.MaxPool(
        kernel=per_axis(kernel, count),
        stride=per_axis(stride or kernel, count),
        padding=per_axis(padding, count),
        dilation=per_axis(dilation, count),
        ceil_mode=ceil_mode,
    )
    return operations.per_example(call.builder, x, kind)


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
