"""Functions of one variable, and sums, products and quotients."""

import math
from collections.abc import Callable
from functools import reduce

import numpy as np
import torch

from epsball.graph import decompositions, operations
from epsball.graph.onnx.rule import RULES, Call, Rule, rule
from epsball.graph.value import Value


def _function(name: str) -> Rule:
    return lambda call: call.unary(name)


RULES.update(
    {
        operator: _function(name)
        for operator, name in {
            **{name.capitalize(): name for name in ("relu", "sigmoid", "tanh", "abs", "exp", "log", "sqrt", "erf")},
            "Neg": "negative",
            "Reciprocal": "reciprocal",
            "Mish": "mish",
            "HardSwish": "hardswish",
        }.items()
    }
)


def _fold(operation: Callable[..., Value]) -> Rule:
    return lambda call: reduce(lambda a, b: operation(call.builder, a, b), call.values())


RULES.update({"Add": _fold(operations.add), "Sum": _fold(operations.add), "Sub": _fold(operations.subtract)})
RULES.update({"Mul": _fold(operations.multiply), "Div": _fold(operations.divide)})
RULES.update({"Max": _fold(operations.maximum), "Min": _fold(operations.minimum)})


@rule("Identity", "Dropout")
def identity(call: Call) -> Value:
    """Return x itself."""
    if call.outputs > 1:
        call.builder.refuse("its mask has no rule")
    training = call.array(2)
    if training is not None and training.any():
        call.builder.refuse("it drops entries at random; export the model in evaluation mode")
    return call.value()


@rule("Cast", "CastLike")
def cast(call: Call) -> Value:
    """Return x itself if the type stays a float."""
    if call.attribute("to", 1) not in (1, 11):
        call.builder.refuse("it leaves float32")
    return call.value()


@rule("LeakyRelu")
def leaky_relu(call: Call) -> Value:
    """Return x where x > 0, else alpha x."""
    return call.unary("leaky_relu", call.attribute("alpha", 0.01))


@rule("PRelu")
def prelu(call: Call) -> Value:
    """Return x where x > 0, else slope x, with one slope per channel or one for all."""
    x, slope = call.value(0), call.constant(1)
    channels = x.shape[1] if x.rank > 1 else 1
    along = slope.ndim == 0 or slope.shape[max(slope.ndim - x.rank + 1, 0)] == slope.size
    if slope.size != 1 and not (slope.size == channels and along and (slope.ndim >= x.rank - 1 or x.rank == 2)):
        call.builder.refuse(f"slopes of shape {slope.shape} have no rule; one per channel has")
    return operations.prelu(call.builder, x, call.name(1, slope.reshape(-1), ".slopes"))


@rule("Elu", "Celu", "Selu")
def elu(call: Call) -> Value:
    """Return scale x where x > 0, else scale alpha (exp(x) - 1)."""
    alpha = call.attribute("alpha", 1.67326319217681884765625 if call.builder.operation == "Selu" else 1.0)
    gain = call.attribute("gamma", 1.05070102214813232421875 if call.builder.operation == "Selu" else 1.0)
    return call.unary("elu", alpha, gain, 1 / alpha if call.builder.operation == "Celu" else 1.0)


@rule("Gelu")
def gelu(call: Call) -> Value:
    """Return x Phi(x), or its approximation by tanh."""
    return call.unary("gelu_tanh" if call.attribute("approximate", "none") == "tanh" else "gelu")


@rule("Softplus")
def softplus(call: Call) -> Value:
    """Return log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|))."""
    builder = call.builder
    builder.rewrite()
    logarithm = decompositions.log1p_exp_minus_abs(builder, call.value())
    return operations.add(builder, call.unary("relu"), logarithm)


@rule("Softsign")
def softsign(call: Call) -> Value:
    """Return x / (1 + |x|)."""
    call.builder.rewrite()
    below = operations.add(call.builder, call.unary("abs"), call.builder.number(1))
    return operations.divide(call.builder, call.value(), below)


@rule("HardSigmoid")
def hard_sigmoid(call: Call) -> Value:
    """Return clamp(alpha x + beta, 0, 1)."""
    builder = call.builder
    builder.rewrite()
    scaled = operations.multiply(builder, call.value(), builder.number(call.attribute("alpha", 0.2)))
    shifted = operations.add(builder, scaled, builder.number(call.attribute("beta", 0.5)))
    return operations.unary(builder, shifted, "clamp", 0, 1)


@rule("Clip")
def clip(call: Call) -> Value:
    """Return min(max(x, low), high)."""
    low, high = call.array(1), call.array(2)
    bounds = (
        call.attribute("min", -math.inf) if low is None else float(low.reshape(())),
        call.attribute("max", math.inf) if high is None else float(high.reshape(())),
    )
    return call.unary("clamp", *bounds)


@rule("Pow")
def power(call: Call) -> Value:
    """Return x to a constant power: 1/2, 1, 2 or 3."""
    exponent = call.constant(1)
    if exponent.size != 1 or float(exponent.reshape(())) not in (0.5, 1, 2, 3):
        call.builder.refuse("its exponent must be 1/2, 1, 2 or 3")
    number = float(exponent.reshape(()))
    return call.unary("sqrt") if number == 0.5 else decompositions.power(call.builder, call.value(), int(number))


@rule("Where")
def where(call: Call) -> Value:
    """Return entries of the second input where the constant first is true, else of the third."""
    if isinstance(call.given(0), Value):
        call.builder.refuse("which entries it takes depends on the input, so it may jump")
    mask = torch.from_numpy(np.array(call.constant(0), dtype=bool))
    return decompositions.where(call.builder, mask, call.value(1), call.value(2))
