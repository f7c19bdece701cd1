"""Functions of one variable, and sums, products and quotients."""

import math
from collections.abc import Callable
from functools import reduce

import numpy as np
import torch

from epsball.graph import decompositions, kinds, operations
from epsball.graph.onnx.rule import RULES, Call, Rule, rule
from epsball.graph.value import Value

_FLOATS = (1, 11)
_WHOLE = (6, 7)
_TRUTH = 9
"""Types of ONNX by their numbers: float32 and float64, int32 and int64, bool."""


def _function(name: str) -> Rule:
    return lambda call: call.unary(name)


RULES.update(
    {
        operator: _function(name)
        for operator, name in {
            **{
                name.capitalize(): name
                for name in ("relu", "sigmoid", "tanh", "abs", "exp", "log", "sqrt", "erf", "sin", "cos")
            },
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


@rule("Mean")
def mean(call: Call) -> Value:
    """Return the mean of the inputs, entry by entry."""
    total = _fold(operations.add)(call)
    return operations.divide(call.builder, total, call.builder.number(len(call.inputs)))


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
    """Return x itself if the type stays a float; as whole numbers it is cut off towards 0, as truth it is x != 0.

    Whole numbers stay floats of the graph, which hold them exactly up to 2^24.
    """
    builder, x, to = call.builder, call.value(), call.attribute("to", 1)
    if to in _FLOATS or (to in (*_WHOLE, _TRUTH) and isinstance(builder.kind_of(x), kinds.Compare)):
        return x
    if to == _TRUTH:
        return operations.compare(builder, "ne", x, builder.number(0))
    if to not in _WHOLE:
        builder.refuse("it leaves float32")
    if builder.is_whole(x.node):
        return x
    builder.rewrite()
    below = operations.unary(builder, operations.unary(builder, x, "negative"), "relu")
    ends = (operations.rounded(builder, part, "floor") for part in (operations.unary(builder, x, "relu"), below))
    return operations.subtract(builder, *ends)


@rule("LeakyRelu")
def leaky_relu(call: Call) -> Value:
    """Return x where x > 0, else alpha x."""
    return call.unary("leaky_relu", call.attribute("alpha", 0.01))


@rule("PRelu")
def prelu(call: Call) -> Value:
    """Return x where x > 0, else slope x, with slopes that broadcast to x."""
    builder, x, slope = call.builder, call.value(0), call.given(1)
    if isinstance(slope, Value):
        builder.rewrite()
        below = operations.unary(builder, operations.unary(builder, x, "negative"), "relu")
        return operations.subtract(builder, call.unary("relu"), operations.multiply(builder, slope, below))
    slope = call.constant(1)
    if slope.size == 1:
        return operations.prelu(builder, x, call.name(1, slope.reshape(-1), ".slopes"))
    whole = np.broadcast_to(slope, operations.whole_example(builder, x).shape)
    if x.rank == 2 or (whole == whole[:, :, *(slice(0, 1),) * (x.rank - 2)]).all():
        along = whole[0].reshape(x.shape[1], -1)[:, 0]
        return operations.prelu(builder, x, call.name(1, along, ".slopes"))
    flat = operations.reshape(builder, x, (1, whole.size), 0)
    result = operations.prelu(builder, flat, call.name(1, whole.reshape(-1), ".slopes"))
    return operations.reshape(builder, result, x.shape, 0)


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


@rule("Swish")
def swish(call: Call) -> Value:
    """Return x sigmoid(alpha x)."""
    alpha = call.attribute("alpha", 1.0)
    if alpha == 1:
        return call.unary("silu")
    call.builder.rewrite()
    scaled = operations.multiply(call.builder, call.value(), call.builder.number(alpha))
    return operations.multiply(call.builder, call.value(), operations.unary(call.builder, scaled, "sigmoid"))


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
    """Return x to a constant power, or a positive number to the power x.

    Whole powers from -8 to 8 and roots are products and quotients; others need a positive x.
    """
    builder, exponent = call.builder, call.given(1)
    if isinstance(exponent, Value):
        return _exponential(call, exponent)
    exponent = call.constant(1)
    if exponent.size == 0 or (exponent != exponent.reshape(-1)[0]).any():
        builder.refuse("its exponents differ from entry to entry; one number has a rule")
    x, number = call.value(0), float(exponent.reshape(-1)[0])
    if exponent.size > 1:
        shape = np.broadcast_shapes(x.shape, exponent.shape)
        x = operations.expand(builder, x, shape, None if x.axis is None else x.axis + len(shape) - x.rank)
    if number == 0:
        builder.refuse("its exponent is 0, so it is 1 everywhere")
    if abs(number) not in (0.5, 1, 2):
        builder.rewrite()
    if abs(number) == 0.5:
        result = operations.unary(builder, x, "sqrt")
    elif number == int(number) and abs(number) <= 8:
        result = decompositions.power(builder, x, abs(int(number)))
    else:
        return decompositions.power_of_positive(builder, x, number)
    return result if number > 0 else operations.unary(builder, result, "reciprocal")


def _exponential(call: Call, exponent: Value) -> Value:
    """Return a positive constant to a power that depends on the input, exp(exponent log(base))."""
    builder, base = call.builder, np.asarray(call.constant(0), dtype=np.float64)
    if not (base > 0).all():
        builder.refuse("its exponent depends on the input, and its base is not positive")
    builder.rewrite()
    logarithm = builder.number(torch.as_tensor(np.log(base)))
    return operations.unary(builder, operations.multiply(builder, exponent, logarithm), "exp")
