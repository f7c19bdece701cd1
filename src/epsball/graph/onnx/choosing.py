"""Comparisons of activations, what is made of them, and functions that jump."""

import numpy as np
import torch

from epsball.graph import decompositions, operations
from epsball.graph.kinds.choosing import Relation
from epsball.graph.onnx.rule import RULES, Call, Rule, rule
from epsball.graph.value import Value


def _comparison(relation: Relation) -> Rule:
    return lambda call: operations.compare(call.builder, relation, call.value(0), call.value(1))


RULES.update(
    {
        "Greater": _comparison("gt"),
        "GreaterOrEqual": _comparison("ge"),
        "Less": _comparison("lt"),
        "LessOrEqual": _comparison("le"),
        "Equal": _comparison("eq"),
        "And": lambda call: operations.minimum(call.builder, call.value(0), call.value(1)),
        "Or": lambda call: operations.maximum(call.builder, call.value(0), call.value(1)),
        "Not": lambda call: operations.compare(call.builder, "eq", call.value(), call.builder.number(0)),
    }
)


@rule("Where")
def where(call: Call) -> Value:
    """Return entries of the second input where the first is true, else of the third."""
    builder, mask = call.builder, call.given(0)
    if not isinstance(mask, Value):
        constant = torch.from_numpy(np.array(call.constant(0), dtype=bool))
        return decompositions.where(builder, constant, call.value(1), call.value(2))
    for given in (call.given(1), call.given(2)):
        if isinstance(given, np.ndarray) and not np.isfinite(given).all():
            builder.refuse("where it sets -inf, or another number that is not finite, depends on the input")
    return operations.select_by(builder, mask, call.value(1), call.value(2))


@rule("Shrink")
def shrink(call: Call) -> Value:
    """Return x + bias where x < -lambd, x - bias where x > lambd, else 0."""
    builder, x = call.builder, call.value()
    width, bias = call.attribute("lambd", 0.5), call.attribute("bias", 0.0)
    if width == bias and width >= 0:
        builder.rewrite()
        return operations.subtract(builder, x, call.unary("clamp", -width, width))
    shift = builder.number(bias)
    above = operations.compare(builder, "gt", x, builder.number(width))
    below = operations.compare(builder, "lt", x, builder.number(-width))
    right = operations.select_by(builder, above, operations.subtract(builder, x, shift), builder.number(0))
    return operations.select_by(builder, below, operations.add(builder, x, shift), right)


@rule("ThresholdedRelu")
def thresholded_relu(call: Call) -> Value:
    """Return x where x > alpha, else 0."""
    builder, alpha = call.builder, call.attribute("alpha", 1.0)
    if alpha == 0:
        return call.unary("relu")
    above = operations.compare(builder, "gt", call.value(), builder.number(alpha))
    return operations.select_by(builder, above, call.value(), builder.number(0))
