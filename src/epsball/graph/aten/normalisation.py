"""Batch, layer, group, instance and root-mean-square normalisation, and attention."""

from collections.abc import Sequence
from typing import Any

from epsball.graph import decompositions, kinds, operations
from epsball.graph.aten.rule import Call, Number, Operand, aten, rule
from epsball.graph.value import Value


@rule(aten.batch_norm.default)
def batch_norm(
    call: Call,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    mean: Operand | None,
    variance: Operand | None,
    training: bool,
    momentum: Number,
    eps: Number,
    *_: Any,
) -> Value:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias per channel, with stored statistics."""
    if training or mean is None or variance is None:
        call.builder.refuse_batch("normalises by statistics of the batch, in evaluation too")
    kind = kinds.BatchNorm(
        mean=call.name(mean),
        variance=call.name(variance),
        weight=call.optional_name(weight),
        bias=call.optional_name(bias),
        eps=eps,
    )
    return operations.per_example(call.builder, call.value(x), kind)


@rule(aten._native_batch_norm_legit_no_training.default)
def native_batch_norm(
    call: Call,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    mean: Operand,
    variance: Operand,
    momentum: Number,
    eps: Number,
) -> list[Value]:
    """Return batch normalisation in the form in which torch.export's decompositions write it."""
    return [batch_norm(call, x, weight, bias, mean, variance, False, momentum, eps)]


@rule(aten.layer_norm.default)
def layer_norm(
    call: Call,
    x: Operand,
    shape: Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: Number = 1e-5,
    *_: Any,
) -> Value:
    """Return x normalised over its last axes, then scaled entry by entry."""
    normal = decompositions.normalise(call.builder, call.value(x), range(-len(shape), 0), eps)
    return decompositions.scaled(call.builder, normal, call.optional(weight), call.optional(bias))


@rule(aten.group_norm.default)
def group_norm(
    call: Call,
    x: Operand,
    groups: int,
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: Number = 1e-5,
    *_: Any,
) -> Value:
    """Return x normalised over groups of channels."""
    return decompositions.group_norm(
        call.builder, call.value(x), groups, call.optional(weight), call.optional(bias), eps
    )


@rule(aten.instance_norm.default)
def instance_norm(
    call: Call,
    x: Operand,
    weight: Operand | None,
    bias: Operand | None,
    mean: Operand | None,
    variance: Operand | None,
    use_input_statistics: bool,
    momentum: Number,
    eps: Number,
    *_: Any,
) -> Value:
    """Return x normalised per channel, over its own axes or by stored statistics."""
    if not use_input_statistics:
        return batch_norm(call, x, weight, bias, mean, variance, False, momentum, eps)
    x = call.value(x)
    return decompositions.group_norm(call.builder, x, x.shape[1], call.optional(weight), call.optional(bias), eps)


@rule(aten.rms_norm.default)
def rms_norm(
    call: Call, x: Operand, shape: Sequence[int], weight: Operand | None = None, eps: Number | None = None
) -> Value:
    """Return x / sqrt(mean of squares + eps) over its last axes, then scaled entry by entry."""
    builder, x = call.builder, call.value(x)
    builder.rewrite()
    if eps is None:
        builder.refuse("it has no eps, so its default depends on the dtype; give eps=")
    squares = operations.unary(builder, x, "square")
    mean = operations.reduce(builder, squares, kinds.Mean, range(-len(shape), 0), keep=True)
    root = operations.unary(builder, operations.add(builder, mean, builder.number(eps)), "sqrt")
    return decompositions.scaled(builder, operations.divide(builder, x, root), call.optional(weight), None)


@rule(aten.scaled_dot_product_attention.default)
def attention(
    call: Call,
    query: Operand,
    key: Operand,
    value: Operand,
    mask: Operand | None = None,
    dropout: Number = 0.0,
    is_causal: bool = False,
    *,
    scale: Number | None = None,
    enable_gqa: bool = False,
) -> Value:
    """Return softmax(query key^T * scale + mask) value."""
    builder = call.builder
    if dropout:
        builder.refuse("it drops entries at random; give dropout_p=0 in evaluation")
    if is_causal or enable_gqa or (mask is not None and not isinstance(mask, Value)):
        builder.refuse("masked and grouped attention have no rule; attend over all positions, without mask")
    given = (call.value(query), call.value(key), call.value(value))
    return decompositions.attention(builder, *given, call.optional(mask), scale)
