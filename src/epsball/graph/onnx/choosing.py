"""Comparisons of activations, what is made of them, and functions that jump."""

import numpy as np
import torch

from epsball.graph import decompositions, operations
from epsball.graph.kinds.choosing import Relation, Rounding
from epsball.graph.onnx.rule import RULES, Call, Rule, rule
from epsball.graph.value import Value

_DIRECTIONS: dict[str, Rounding] = {"Floor": "floor", "Ceil": "ceil", "Round": "round"}
_MOST_COMPARED = 128
"""Entries of which the greatest is sought one after the other."""


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


@rule("Sign")
def sign(call: Call) -> Value:
    """Return 1 where x > 0, -1 where x < 0, else 0."""
    builder, zero = call.builder, call.builder.number(0)
    above, below = (operations.compare(builder, relation, call.value(), zero) for relation in ("gt", "lt"))
    return operations.subtract(builder, above, below)


@rule("Floor", "Ceil", "Round")
def whole_number(call: Call) -> Value:
    """Return the whole number below, above or next to x."""
    return operations.rounded(call.builder, call.value(), _DIRECTIONS[call.builder.operation])


@rule("ArgMax", "ArgMin")
def extreme_index(call: Call) -> Value:
    """Return the index of the greatest or least entry along an axis; of several the first, or the last if asked."""
    builder, x = call.builder, call.value()
    axis = call.attribute("axis", 0) % x.rank
    relation: Relation = "ge" if call.attribute("select_last_index", 0) else "gt"
    if builder.operation == "ArgMin":
        x = operations.unary(builder, x, "negative")
    if x.shape[axis] > _MOST_COMPARED:
        builder.refuse(f"it compares {x.shape[axis]} entries; up to {_MOST_COMPARED} have a rule")
    best, *others = operations.split(builder, x, axis, [1] * x.shape[axis])
    index = operations.compare(builder, "ne", best, best)
    for number, entry in enumerate(others, 1):
        beats = operations.compare(builder, relation, entry, best)
        index = beats if number == 1 else operations.select_by(builder, beats, builder.number(number), index)
        best = operations.maximum(builder, best, entry)
    return index if call.attribute("keepdims", 1) else operations.squeeze(builder, index, (axis,))


@rule("OneHot")
def one_hot(call: Call) -> Value:
    """Return values[1] where an index equals the place along a new axis, else values[0]."""
    builder, index = call.builder, call.value(0)
    depth, (off, on) = int(call.constant(1).reshape(())), call.constant(2).reshape(-1).tolist()
    rank = index.rank + 1
    axis = call.attribute("axis", -1) % rank
    batch = None if index.axis is None else index.axis + (axis <= index.axis)
    apart = operations.reshape(builder, index, (*index.shape[:axis], 1, *index.shape[axis:]), batch)
    places = torch.arange(depth).view(-1, *(1,) * (rank - 1 - axis))
    found = operations.compare(builder, "eq", apart, builder.number(places))
    return found if (off, on) == (0, 1) else operations.select_by(builder, found, *map(builder.number, (on, off)))


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
