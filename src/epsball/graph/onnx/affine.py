"""Matrix products, convolutions and batch normalisation."""

import numpy as np

from epsball.graph import kinds, operations
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.onnx.windows import Window, padded, window
from epsball.graph.value import Value


@rule("Gemm")
def gemm(call: Call) -> Value:
    """Return alpha A B + beta C, A and B transposed where said."""
    builder, a = call.builder, call.value(0)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if call.attribute("transA", 0):
        a = operations.permute(builder, a, (1, 0))
    b, c = call.given(1), call.given(2)
    if isinstance(b, np.ndarray) and a.axis == 0:
        weight = call.name(1) if call.attribute("transB", 0) else call.name(1, b.T, ".T")
        outputs = len(builder.parameters[weight])
        fused = isinstance(c, np.ndarray) and c.size == outputs and alpha == beta == 1
        bias = call.name(2, c.reshape(-1), ".bias") if fused and isinstance(c, np.ndarray) else None
        node = builder.add(kinds.Linear(weight=weight, bias=bias), a.node)
        product = Value(node, (*a.shape[:-1], outputs), a.axis, a.outer)
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
    if isinstance(a, Value) and isinstance(b, np.ndarray) and b.ndim == 2 and a.axis not in (None, a.rank - 1):
        node = call.builder.add(kinds.Linear(weight=call.name(1, b.T, ".T")), a.node)
        return Value(node, (*a.shape[:-1], b.shape[1]), a.axis, a.outer)
    return operations.matmul(call.builder, call.value(0), call.value(1))


@rule("Conv")
def convolution(call: Call) -> Value:
    """Return a convolution."""
    x = operations.whole_example(call.builder, call.value(0))
    place = window(call, x, call.constant(1).shape[2:])
    x, padding = padded(call, x, place)
    kind = kinds.Convolution(
        weight=call.name(1),
        bias=call.optional_name(2),
        stride=place.stride,
        padding=padding,
        dilation=place.dilation,
        groups=call.attribute("group", 1),
    )
    return operations.per_example(call.builder, x, kind)


@rule("ConvTranspose")
def transposed(call: Call) -> Value:
    """Return the transpose of a convolution; what asymmetric padding cuts more on one side is cut after it."""
    x = operations.whole_example(call.builder, call.value(0))
    if call.attribute("auto_pad", "NOTSET") != "NOTSET" or call.attribute("output_shape"):
        call.builder.refuse("auto_pad and output_shape have no rule; give pads")
    place: Window = window(call, x, call.constant(1).shape[2:])
    extra = tuple(call.attribute("output_padding", (0,) * len(place.stride)))
    kind = kinds.Convolution(
        weight=call.name(1),
        bias=call.optional_name(2),
        stride=place.stride,
        padding=tuple(min(pair) for pair in place.pads),
        dilation=place.dilation,
        groups=call.attribute("group", 1),
        transposed=True,
        output_padding=extra,
    )
    result = operations.per_example(call.builder, x, kind)
    for axis, (before, after) in enumerate(place.pads, start=2):
        least = min(before, after)
        length = result.shape[axis]
        result = operations.take(call.builder, result, axis, before - least, length - (after - least))
    return result


@rule("BatchNormalization")
def batch_norm(call: Call) -> Value:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + shift, a channel, with stored statistics."""
    if call.attribute("training_mode", 0) or call.attribute("spatial", 1) != 1:
        call.builder.refuse_batch("normalises by statistics of the batch, or an entry at a time,")
    kind = kinds.BatchNorm(
        weight=call.name(1),
        bias=call.name(2),
        mean=call.name(3),
        variance=call.name(4),
        eps=float(call.attribute("epsilon", 1e-5)),
    )
    return operations.per_example(call.builder, call.value(0), kind)
