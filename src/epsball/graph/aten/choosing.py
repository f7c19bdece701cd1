"""Comparisons, logic, and choosing by constant masks or by what was compared."""

import math
from typing import Any

import torch
from torch import Tensor

from epsball.graph import decompositions, kinds, operations
from epsball.graph.aten.rule import RULES, Call, Number, Operand, Rule, aten, rule
from epsball.graph.kinds.choosing import RELATIONS, Relation
from epsball.graph.value import Value


def _comparison(relation: Relation) -> Rule:
    return lambda call, a, b: operations.compare(call.builder, relation, call.value(a), call.value(b))


for _relation in RELATIONS:
    RULES.update(
        dict.fromkeys((getattr(aten, _relation).Tensor, getattr(aten, _relation).Scalar), _comparison(_relation))  # pyright: ignore[reportArgumentType]
    )

LOGIC = {
    *(aten.logical_not.default, aten.bitwise_not.default, aten.logical_and.default, aten.bitwise_and.Tensor),
    *(aten.logical_or.default, aten.bitwise_or.Tensor),
    *(getattr(getattr(aten, relation), kind) for relation in RELATIONS for kind in ("Tensor", "Scalar")),
}
"""Operators whose results are true or false; nodes hold them as 1 and 0."""


@rule(aten.logical_not.default, aten.bitwise_not.default)
def logical_not(call: Call, a: Operand) -> Value:
    """Return whether a is 0."""
    return operations.compare(call.builder, "eq", call.value(a), call.builder.number(0))


@rule(aten.logical_and.default, aten.bitwise_and.Tensor)
def logical_and(call: Call, a: Operand, b: Operand) -> Value:
    """Return whether both hold."""
    return operations.minimum(call.builder, *(_truth(call, operand) for operand in (a, b)))


@rule(aten.logical_or.default, aten.bitwise_or.Tensor)
def logical_or(call: Call, a: Operand, b: Operand) -> Value:
    """Return whether one of two holds."""
    return operations.maximum(call.builder, *(_truth(call, operand) for operand in (a, b)))


def _truth(call: Call, operand: Operand) -> Value:
    """Return 1 where an operand is not 0; comparisons are as they are."""
    value = call.value(operand)
    if isinstance(call.builder.kind_of(value), kinds.Compare):
        return value
    return operations.compare(call.builder, "ne", value, call.builder.number(0))


@rule(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar)
def where(call: Call, mask: Operand, a: Operand, b: Operand) -> Value:
    """Return entries of a where the mask is true, else of b."""
    builder, a, b = call.builder, call.value(a), call.value(b)
    if isinstance(mask, Tensor):
        return decompositions.where(builder, mask, a, b)
    for value in (a, b):
        constant = builder.constant(value)
        if constant is not None and not bool(constant.isfinite().all()):
            builder.refuse("where it sets -inf, or another number that is not finite, depends on the input")
    return operations.select_by(builder, call.value(mask), a, b)


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(call: Call, x: Operand, mask: Operand, value: Operand) -> Value:
    """Return a value where the mask is true, else x."""
    return where(call, mask, value, x)


@rule(aten.threshold.default)
def threshold(call: Call, x: Operand, limit: Number, value: Number) -> Value:
    """Return x above the limit, else the value: max(x, limit) where they are one."""
    x = call.value(x)
    if limit == value:
        return operations.unary(call.builder, x, "clamp", limit, math.inf)
    above = operations.compare(call.builder, "gt", x, call.builder.number(limit))
    return operations.select_by(call.builder, above, x, call.builder.number(value))


@rule(aten.hardshrink.default)
def hardshrink(call: Call, x: Operand, width: Number = 0.5) -> Value:
    """Return x where it is greater in size than the width, else 0."""
    builder, x = call.builder, call.value(x)
    inside = operations.compare(builder, "le", operations.unary(builder, x, "abs"), builder.number(width))
    return operations.select_by(builder, inside, builder.number(0), x)


@rule(aten.nan_to_num.default)
def nan_to_num(call: Call, x: Operand, *_: Any, **__: Any) -> Value:
    """Return x itself: values with bounds are numbers, and of others nothing is claimed."""
    return call.value(x)


@rule(aten.lerp.Scalar, aten.lerp.Tensor)
def lerp(call: Call, a: Operand, b: Operand, weight: Operand) -> Value:
    """Return a + w (b - a); where w is a number of at least 1/2 in size, b - (b - a) (1 - w), as kernels do."""
    builder, a, b = call.builder, call.value(a), call.value(b)
    difference = operations.subtract(builder, b, a)
    if isinstance(weight, int | float) and abs(weight) >= 0.5:
        rest = builder.named(torch.tensor(1 - weight, dtype=torch.float64), "rest")
        builder.parameters[rest] = 1 - torch.tensor(weight, dtype=builder.dtype, device=builder.device)
        return operations.subtract(builder, b, operations.multiply(builder, difference, builder.parameter(rest)))
    if not isinstance(weight, int | float):
        builder.rewrite()
    return operations.add(builder, a, operations.multiply(builder, difference, call.value(weight)))
