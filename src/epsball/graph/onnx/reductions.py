"""Reductions and softmax."""

import math

from epsball.graph import decompositions, kinds, operations
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.value import Value


def _axes(call: Call, x: Value) -> list[int] | None:
    """Return the axes to reduce; None if each entry is reduced alone."""
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
        functions = {"ReduceL1": "abs", "ReduceL2": "abs", "ReduceSumSquare": "square"}
        return call.unary(functions[operator]) if operator in functions else x
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


@rule("ReduceLogSum")
def log_sum(call: Call) -> Value:
    """Return log sum x over axes."""
    builder, x, keep = call.builder, call.value(0), bool(call.attribute("keepdims", 1))
    axes = _axes(call, x)
    builder.rewrite()
    total = x if axes is None else operations.reduce(builder, x, kinds.Sum, axes, keep)
    return operations.unary(builder, total, "log")


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
