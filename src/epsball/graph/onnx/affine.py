"""Matrix products, convolutions and batch normalisation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from epsball.graph import kinds, operations
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.onnx.windows import Window, padded, window
from epsball.graph.value import Value


@rule("Gemm")
def gemm(call: Call) -> Value:
    """Return alpha A B + beta C, with A and B transposed where the attributes say so."""
    builder, a = call.builder, call.value(0)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if call.attribute("transA", 0):
        a = operations.permute(builder, a, (1, 0))
    b, c = call.given(1), call.given(2)
    if isinstance(b, np.ndarray) and (a.axis == 0 or builder.alone):
        weight = call.name(1) if call.attribute("transB", 0) else call.name(1, b.T, ".T")
        fused = isinstance(c, np.ndarray) and c.size == len(builder.parameters[weight]) and alpha == beta == 1
        bias = call.name(2, c.reshape(-1), ".bias") if fused and isinstance(c, np.ndarray) else None
        product = operations.linear(builder, a, weight, bias)
        if fused:
            return product
    else:
        factor = call.value(1)
        factor = operations.permute(builder, factor, (1, 0)) if call.attribute("transB", 0) else factor
        product = operations.matmul(builder, a, factor)
    if alpha != 1:
        product = operations.multiply(builder, product, builder.number(alpha))
    if c is None or beta == 0:
        return product
    shift = call.value(2) if beta == 1 else operations.multiply(builder, call.value(2), builder.number(beta))
    return operations.add(builder, product, shift)


@rule("MatMul")
def matmul(call: Call) -> Value:
    """Return A B."""
    a, b = call.given(0), call.given(1)
    rows = isinstance(a, Value) and (call.builder.alone or a.axis not in (None, a.rank - 1))
    if rows and isinstance(a, Value) and isinstance(b, np.ndarray) and b.ndim == 2:
        return operations.linear(call.builder, a, call.name(1, b.T, ".T"))
    return operations.matmul(call.builder, call.value(0), call.value(1))


@rule("Conv")
def convolution(call: Call) -> Value:
    """Return a convolution."""
    x = operations.whole_example(call.builder, call.value(0))
    place = window(call, x, call.constant(1).shape[2:])
    x, padding = padded(call, x, place)
    return _convolved(call, x, place, padding)


@rule("ConvTranspose")
def transposed(call: Call) -> Value:
    """Return the transpose of a convolution; where padding is asymmetric, the larger side is cut afterwards."""
    x = operations.whole_example(call.builder, call.value(0))
    kernel = call.constant(1).shape[2:]
    extra = tuple(call.attribute("output_padding", (0,) * len(kernel)))
    place = _transposed_window(call, x, kernel, extra)
    padding = tuple(min(pair) for pair in place.pads)
    result = _convolved(call, x, place, padding, transposed=True, output_padding=extra)
    for axis, (before, after) in enumerate(place.pads, start=2):
        least = min(before, after)
        length = result.shape[axis]
        result = operations.take(call.builder, result, axis, before - least, length - (after - least))
    return result


def _transposed_window(call: Call, x: Value, kernel: Sequence[int], extra: Sequence[int]) -> Window:
    """Return the windows of a transposed convolution, their padding computed from the length of the result."""
    place = window(call, x, kernel)
    automatic, lengths = call.attribute("auto_pad", "NOTSET"), call.attribute("output_shape", ())[-len(kernel) :]
    if automatic in ("SAME_UPPER", "SAME_LOWER") and not lengths:
        lengths = [n * s for n, s in zip(x.shape[2:], place.stride, strict=True)]
    if not lengths:
        return place
    pads = []
    axes = zip(x.shape[2:], kernel, place.stride, place.dilation, extra, lengths, strict=True)
    for n, k, s, d, added, length in axes:
        total = (n - 1) * s + added + d * (k - 1) + 1 - length
        if total < 0:
            call.builder.refuse(f"its result of length {length} is longer than its windows reach; give pads")
        before = total // 2 if automatic == "SAME_UPPER" else total - total // 2
        pads.append((before, total - before))
    return replace(place, pads=tuple(pads))


def _convolved(call: Call, x: Value, place: Window, padding: tuple[int, ...], **transposed: Any) -> Value:
    """Return a convolution of x over windows, their padding replaced, or the transpose of one."""
    kind = kinds.Convolution(
        weight=call.name(1),
        bias=call.optional_name(2),
        stride=place.stride,
        padding=padding,
        dilation=place.dilation,
        groups=call.attribute("group", 1),
        **transposed,
    )
    return operations.per_example(call.builder, x, kind)


@rule("BatchNormalization")
def batch_norm(call: Call) -> Value:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + shift per channel, with stored statistics."""
    if call.attribute("training_mode", 0) or call.attribute("spatial", 1) != 1:
        call.builder.refuse_batch("normalises by statistics of the batch, or entry by entry,")
    kind = kinds.BatchNorm(
        weight=call.name(1),
        bias=call.name(2),
        mean=call.name(3),
        variance=call.name(4),
        eps=float(call.attribute("epsilon", 1e-5)),
    )
    return operations.per_example(call.builder, call.value(0), kind)
