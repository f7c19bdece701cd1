"""Reductions, softmax and normalisation."""

import math

from epsball.graph import decompositions as composites
from epsball.graph import kinds, operations
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.value import Value


def _axes(call: Call, x: Value) -> list[int] | None:
    """Return the axes to reduce, None for nothing to do."""
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
    before = {"ReduceMin": "negative", "ReduceL1": "abs", "ReduceL2": "square", "ReduceSumSquare": "square"}
    after = {"ReduceMin": "negative", "ReduceL2": "sqrt"}
    kind = {"ReduceMean": kinds.Mean, "ReduceMax": kinds.Max, "ReduceMin": kinds.Max}.get(operator, kinds.Sum)
    if operator in ("ReduceL1", "ReduceL2", "ReduceSumSquare"):
        builder.rewrite()
    if operator in before:
        x = operations.unary(builder, x, before[operator])
    result = operations.reduce(builder, x, kind, axes, keep)
    return operations.unary(builder, result, after[operator]) if operator in after else result


@rule("ReduceLogSumExp")
def log_sum_exp(call: Call) -> Value:
    """Return log sum exp(x) over axes."""
    x = call.value(0)
    axes = _axes(call, x)
    keep = bool(call.attribute("keepdims", 1))
    return x if axes is None else composites.log_sum_exp(call.builder, x, axes, keep)


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
    normal = composites.normalise(call.builder, x, axes, float(call.attribute("epsilon", 1e-5)))
    bias = None if call.array(2) is None else call.value(2)
    return composites.scaled(call.builder, normal, call.value(1), bias)


@rule("InstanceNormalization")
def instance_norm(call: Call) -> Value:
    """Return x normalised a channel, over its own axes."""
    x = call.value(0)
    eps = float(call.attribute("epsilon", 1e-5))
    return composites.group_norm(call.builder, x, x.shape[1], call.value(1), call.value(2), eps)


@rule("GroupNormalization")
def group_norm(call: Call) -> Value:
    """Return x normalised over groups of channels."""
    if call.opset < 21:
        call.builder.refuse("its scales are a group's before operator set 21; export with a newer one")
    eps = float(call.attribute("epsilon", 1e-5))
    groups = call.attribute("num_groups")
    return composites.group_norm(call.builder, call.value(0), groups, call.value(1), call.value(2), eps)
