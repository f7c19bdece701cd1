"""Functions of one variable, and sums, products and quotients of two."""

import math
from collections.abc import Callable

from torch import Tensor

from epsball.graph import decompositions, operations
from epsball.graph.aten.rule import RULES, Call, Number, Operand, Rule, aten, rule
from epsball.graph.value import Value


def _function(name: str) -> Rule:
    return lambda call, x: operations.unary(call.builder, call.value(x), name)


RULES.update(
    {
        getattr(aten, name).default: _function(function)
        for name, function in {
            **{name: name for name in ("relu", "abs", "sigmoid", "tanh", "silu", "mish", "hardswish", "hardsigmoid")},
            **{name: name for name in ("exp", "log", "sqrt", "reciprocal", "erf", "square", "sin", "cos")},
            "neg": "negative",
        }.items()
    }
)


@rule(aten.relu6.default)
def relu6(call: Call, x: Operand) -> Value:
    """Return min(max(x, 0), 6)."""
    return operations.unary(call.builder, call.value(x), "clamp", 0, 6)


@rule(aten.hardtanh.default)
def hardtanh(call: Call, x: Operand, low: Number = -1, high: Number = 1) -> Value:
    """Return min(max(x, low), high)."""
    return operations.unary(call.builder, call.value(x), "clamp", low, high)


@rule(aten.clamp.default, aten.clamp.Tensor)
def clamp(call: Call, x: Operand, low: Operand | None = None, high: Operand | None = None) -> Value:
    """Return min(max(x, low), high); either bound may be None."""
    x = call.value(x)
    if not isinstance(low, Value | Tensor) and not isinstance(high, Value | Tensor):
        bounds = (-math.inf if low is None else low, math.inf if high is None else high)
        return operations.unary(call.builder, x, "clamp", *bounds)
    if low is not None:
        x = operations.maximum(call.builder, x, call.value(low))
    return x if high is None else operations.minimum(call.builder, x, call.value(high))


@rule(aten.clamp_min.default)
def clamp_min(call: Call, x: Operand, low: Number) -> Value:
    """Return max(x, low)."""
    return clamp(call, x, low)


@rule(aten.clamp_max.default)
def clamp_max(call: Call, x: Operand, high: Number) -> Value:
    """Return min(x, high)."""
    return clamp(call, x, None, high)


@rule(aten.leaky_relu.default)
def leaky_relu(call: Call, x: Operand, slope: Number = 0.01) -> Value:
    """Return x where x > 0, else slope x."""
    return operations.unary(call.builder, call.value(x), "leaky_relu", slope)


@rule(aten.rrelu.default)
def rrelu(call: Call, x: Operand, lower: Number = 1 / 8, upper: Number = 1 / 3, training: bool = False) -> Value:
    """Return the leaky rectifier with the mean slope, as in evaluation."""
    if training:
        call.builder.refuse("it draws random slopes; call eval()")
    return leaky_relu(call, x, (lower + upper) / 2)


@rule(aten.prelu.default)
def prelu(call: Call, x: Operand, slope: Operand) -> Value:
    """Return x where x > 0, else slope x, with one slope per channel or one for all."""
    return operations.prelu(call.builder, call.value(x), call.name(slope))


@rule(aten.elu.default)
def elu(call: Call, x: Operand, alpha: Number = 1, scale: Number = 1, input_scale: Number = 1) -> Value:
    """Return scale x where x > 0, else scale alpha (exp(input_scale x) - 1)."""
    return operations.unary(call.builder, call.value(x), "elu", alpha, scale, input_scale)


@rule(aten.selu.default)
def selu(call: Call, x: Operand) -> Value:
    """Return `elu` with the constants that keep mean 0 and variance 1."""
    return elu(call, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@rule(aten.celu.default)
def celu(call: Call, x: Operand, alpha: Number = 1) -> Value:
    """Return x where x > 0, else alpha (exp(x / alpha) - 1)."""
    return elu(call, x, alpha, 1, 1 / alpha)


@rule(aten.gelu.default)
def gelu(call: Call, x: Operand, *, approximate: str = "none") -> Value:
    """Return x Phi(x), or its approximation by tanh."""
    return operations.unary(call.builder, call.value(x), "gelu_tanh" if approximate == "tanh" else "gelu")


@rule(aten.softplus.default)
def softplus(call: Call, x: Operand, beta: Number = 1, threshold: Number = 20) -> Value:
    """Return log(1 + exp(beta x)) / beta, x where beta x > threshold."""
    return operations.unary(call.builder, call.value(x), "softplus", beta, threshold)


@rule(aten.log_sigmoid.default)
def log_sigmoid(call: Call, x: Operand) -> Value:
    """Return min(x, 0) - log(1 + exp(-|x|))."""
    builder, x = call.builder, call.value(x)
    builder.rewrite()
    logarithm = decompositions.log1p_exp_minus_abs(builder, x)
    return operations.subtract(builder, operations.unary(builder, x, "clamp", -math.inf, 0), logarithm)


@rule(aten.softshrink.default)
def softshrink(call: Call, x: Operand, width: Number = 0.5) -> Value:
    """Return x - clamp(x, -width, width)."""
    call.builder.rewrite()
    x = call.value(x)
    return operations.subtract(call.builder, x, operations.unary(call.builder, x, "clamp", -width, width))


@rule(aten.rsqrt.default)
def rsqrt(call: Call, x: Operand) -> Value:
    """Return 1 / sqrt(x)."""
    call.builder.rewrite()
    return operations.unary(call.builder, operations.unary(call.builder, call.value(x), "sqrt"), "reciprocal")


@rule(aten.pow.Tensor_Scalar)
def power(call: Call, x: Operand, exponent: Number) -> Value:
    """Return x to a power: 1/2, -1/2, -1, or a whole number from 1 to 8."""
    builder, x = call.builder, call.value(x)
    if exponent in (0.5, -0.5):
        root = operations.unary(builder, x, "sqrt")
        return root if exponent > 0 else operations.unary(builder, root, "reciprocal")
    if exponent == -1:
        return operations.unary(builder, x, "reciprocal")
    if exponent not in range(1, 9):
        builder.refuse(f"the power {exponent} has no rule; 1/2, -1/2, -1 and 1 to 8 have one")
    if exponent > 2:
        builder.rewrite()
    return decompositions.power(builder, x, int(exponent))


def _scaled_sum(operation: Callable[..., Value]) -> Rule:
    def apply(call: Call, a: Operand, b: Operand, *, alpha: Number = 1) -> Value:
        """Return a + alpha b, or a - alpha b."""
        b = call.value(b)
        if alpha != 1:
            b = operations.multiply(call.builder, b, call.builder.number(alpha))
        return operation(call.builder, call.value(a), b)

    return apply


def _pair(operation: Callable[..., Value]) -> Rule:
    return lambda call, a, b: operation(call.builder, call.value(a), call.value(b))


RULES.update(dict.fromkeys((aten.add.Tensor, aten.add.Scalar), _scaled_sum(operations.add)))
RULES.update(dict.fromkeys((aten.sub.Tensor, aten.sub.Scalar), _scaled_sum(operations.subtract)))
RULES.update(dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar), _pair(operations.multiply)))
RULES.update(dict.fromkeys((aten.div.Tensor, aten.div.Scalar), _pair(operations.divide)))
RULES[aten.maximum.default] = _pair(operations.maximum)
RULES[aten.minimum.default] = _pair(operations.minimum)


@rule(aten.rsub.Scalar, aten.rsub.Tensor)
def reversed_subtract(call: Call, a: Operand, b: Operand, alpha: Number = 1) -> Value:
    """Return b - alpha a."""
    return _scaled_sum(operations.subtract)(call, b, a, alpha=alpha)


@rule(aten.glu.default)
def glu(call: Call, x: Operand, axis: int = -1) -> Value:
    """Return the first half of an axis times the sigmoid of the second."""
    x = call.value(x)
    half = x.shape[axis] // 2
    first = operations.take(call.builder, x, axis, 0, half)
    second = operations.take(call.builder, x, axis, half, 2 * half)
    return operations.multiply(call.builder, first, operations.unary(call.builder, second, "sigmoid"))
