"""Operators of ``ai.onnx.ml``, as scikit-learn's converters write them."""

import numpy as np
import torch

from epsball.graph import decompositions, operations
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.value import Value


@rule("Scaler")
def scaler(call: Call) -> Value:
    """Return (x - offset) * scale."""
    builder = call.builder
    offset, scale = (builder.number(torch.tensor(call.attribute(name))) for name in ("offset", "scale"))
    return operations.multiply(builder, operations.subtract(builder, call.value(), offset), scale)


@rule("Normalizer")
def normalizer(call: Call) -> Value:
    """Return rows divided by their norm of order 1 or 2."""
    orders = {"L1": 1, "L2": 2}
    norm = call.attribute("norm", "MAX")
    if norm not in orders:
        call.builder.refuse(f"the norm {norm} has no rule; L1 and L2 have")
    return decompositions.divided_by_norm(call.builder, call.value(), orders[norm], (-1,))


@rule("LinearClassifier")
def linear_classifier(call: Call) -> list[Value | None]:
    """Return, after the labels, which have no rule, the scores W x + b, softmax or sigmoid of them."""
    builder, x = call.builder, call.value()
    shift = np.array(call.attribute("intercepts", ()), dtype=np.float32)
    labels = call.attribute("classlabels_ints") or call.attribute("classlabels_strings") or ()
    if len(shift) != len(labels) or x.rank != 2:
        builder.refuse("it does not have one row of coefficients per class")
    weight = np.array(call.attribute("coefficients"), dtype=np.float32).reshape(len(shift), -1)
    names = (builder.named(torch.from_numpy(array)) for array in (weight, shift))
    scores = operations.linear(builder, x, *names)
    function = call.attribute("post_transform", "NONE")
    if function == "SOFTMAX":
        scores = operations.softmax(builder, scores, 1)
    elif function == "LOGISTIC":
        scores = operations.unary(builder, scores, "sigmoid")
    elif function != "NONE":
        builder.refuse(f"the function {function} of its scores has no rule")
    return [None, scores]
