"""Reductions, softmax and normalisation."""

import math

from epsball.graph import decompositions, kinds, operations
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.value import Value


def _axes(call: Call, x: Value) -> list[int] | None:
    """Return the axes to reduce; None if x is returned as it is."""
    axes = call.integers("axes", 1)
    if axes:
        return axes
    return None if call.attribute("noop_with_empty_axes", 0) else list(range(x.rank))


@rule("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
def reduce(call: Call) -> Value:
    """Return sums, means, extrema or norms over axes."""
    builder, x, keep = call.builder, call.value(0), bool(call.attribute("keepdims", 1))
    operator = builder.operation
    axes = _axes(call, x)
    if axes is None:
        return x
    if operator == "ReduceMin":
        return decompositions.least(builder, x, axes, keep)
    if operator in ("ReduceL1", "ReduceL2"):
        builder.rewrite()
        return decompositions.norm(builder, x, 1 if operator == "ReduceL1" else 2, axes, keep)
    if operator == "ReduceSumSquare":
        builder.rewrite()
        x = operations.unary(builder, x, "square")
    kind = {"ReduceMean": kinds.Mean, "ReduceMax": kinds.Max}.get(operator, kinds.Sum)
    return operations.reduce(builder, x, kind, axes, keep)


@rule("ReduceLogSumExp")
def log_sum_exp(call: Call) -> Value:
    """Return log sum exp(x) over axes."""
    x = call.value(0)
    axes = _axes(call, x)
    keep = bool(call.attribute("keepdims", 1))
    return x if axes is None else decompositions.log_sum_exp(call.builder, x, axes, keep)


@rule("Softmax", "LogSoftmax")
def softmax(call: Call) -> Value:
    """Return softmax, or its logarithm, over an axis; before operator set 13 over all axes from it on."""
    builder, x = call.builder, call.value()
    given = x.shape
    axis = call.attribute("axis", -1 if call.opset >= 13 else 1) % x.rank
    if call.opset < 13 and axis != x.rank - 1:
        x = operations.reshape(builder, x, (*given[:axis], math.prod(given[axis:])), x.axis)
    kind = kinds.Softmax if builder.operation == "Softmax" else kinds.LogSoftmax
    result = operations.softmax(builder, x, axis, kind)
    return operations.reshape(builder, result, given, x.axis)


@rule("LayerNormalization")
def layer_norm(call: Call) -> Value:
    """Return x normalised over its axes from `axis` on, then scaled entry by entry."""
    x = call.value(0)
    axes = range(call.attribute("axis", -1) % x.rank, x.rank)
    normal = decompositions.normalise(call.builder, x, axes, float(call.attribute("epsilon", 1e-5)))
    bias = None if call.array(2) is None else call.value(2)
    return decompositions.scaled(call.builder, normal, call.value(1), bias)


@rule("InstanceNormalization")
def instance_norm(call: Call) -> Value:
    """Return x normalised per channel, over its own axes."""
    x = call.value(0)
    eps = float(call.attribute("epsilon", 1e-5))
    return decompositions.group_norm(call.builder, x, x.shape[1], call.value(1), call.value(2), eps)


@rule("GroupNormalization")
def group_norm(call: Call) -> Value:
    """Return x normalised over groups of channels."""
    if call.opset < 21:
        call.builder.refuse("it has one scale per group before operator set 21; export with a newer one")
    eps = float(call.attribute("epsilon", 1e-5))
    groups = call.attribute("num_groups")
    return decompositions.group_norm(call.builder, call.value(0), groups, call.value(1), call.value(2), eps)
