"""Rounding, remainders, signs and casts: straight through, or a smooth step.

References
----------
Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic neurons for conditional
computation", 2013 (straight through).
"""

import torch
from torch import Tensor

from epsball.attacks.adaptive.surrogates.call import AS_IT_IS, Call, Surrogate, mean_size


def straight_through(call: Call) -> Tensor:
    """Return the first argument."""
    return call.floating(call.args[0])


def quotient(call: Call) -> object:
    """Return a / b for a division that rounds."""
    if call.kwargs.get("rounding_mode") is None:
        return AS_IT_IS
    return torch.true_divide(*map(call.floating, call.args[:2]))


def integer_quotient(call: Call) -> Tensor:
    """Return a / b."""
    return torch.true_divide(*map(call.floating, call.args[:2]))


def reversed_quotient(call: Call) -> Tensor:
    """Return b / a."""
    return torch.true_divide(call.floating(call.args[1]), call.floating(call.args[0]))


def half(call: Call) -> Tensor:
    """Return half of the first argument, for what is left after rounding.

    x - remainder(x, s) rounds: its slope at the scale of many steps is 1 where that of the remainder is 0.
    The remainder by itself has slope 1. Half of it has the right sign in both.
    """
    return 0.5 * call.floating(call.args[0])


def sign(call: Call) -> Tensor:
    """Return tanh(x / s), s the mean size of the row."""
    x = call.floating(call.args[0])
    return torch.tanh(x / mean_size(x))


def cast(call: Call) -> Tensor:
    """Return x in a floating dtype; for booleans of numbers, how far from 0 they are."""
    x = call.floating(call.args[0])
    if isinstance(call.exact, Tensor) and call.exact.dtype == torch.bool and call.given[0].dtype != torch.bool:
        return torch.tanh(x.abs() / mean_size(x))
    return x


ROUNDING: dict[str, Surrogate] = {
    **dict.fromkeys(("round", "floor", "ceil", "trunc", "fix", "special_round", "nextafter"), straight_through),
    **dict.fromkeys(("bernoulli", "poisson", "fake_quantize_per_tensor_affine"), straight_through),
    **dict.fromkeys(("div", "divide"), quotient),
    **dict.fromkeys(("floor_divide", "__floordiv__"), integer_quotient),
    "__rfloordiv__": reversed_quotient,
    **dict.fromkeys(("remainder", "fmod", "__mod__", "frac"), half),
    **dict.fromkeys(("sign", "sgn"), sign),
    **dict.fromkeys(("to", "type", "type_as", "_to_copy", "_cast_Float", "float", "double", "half", "bfloat16"), cast),
    **dict.fromkeys(("long", "int", "short", "char", "byte", "bool"), cast),
}
"""Surrogates by the operation's name."""
