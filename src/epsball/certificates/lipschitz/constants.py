"""Lipschitz constants of functions of one variable: the greatest absolute value of their derivatives."""

from epsball.graph.kinds import Elementwise

# Greatest slopes, rounded up in the fourth decimal or later: gelu at sqrt(2), silu at 2.3994, mish at 1.4906.
_CONSTANTS = {
    "negative": 1.0,
    "relu": 1.0,
    "gelu": 1.12905,
    "gelu_tanh": 1.129,
    "silu": 1.09984,
    "mish": 1.0885,
    "hardswish": 1.5,
    "hardsigmoid": 0.16666666666666669,
    "sigmoid": 0.25,
    "tanh": 1.0,
    "softplus": 1.0,
    "abs": 1.0,
    "clamp": 1.0,
    "erf": 1.1283791670955129,
}


def constant_of(kind: Elementwise) -> float | None:
    """Return an upper bound of the function's Lipschitz constant on the whole line, or None if there is none."""
    if kind.function == "leaky_relu":
        return max(1.0, abs(kind.arguments[0]))
    if kind.function == "elu":
        alpha, scale, input_scale = (abs(value) for value in kind.arguments)
        return max(scale, scale * alpha * input_scale) * (1 + 2.0**-50)
    return _CONSTANTS.get(kind.function)
