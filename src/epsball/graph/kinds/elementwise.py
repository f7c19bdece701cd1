"""Functions of one variable, applied entry by entry."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from epsball.graph.kinds.kind import Parameters


def _clamp(x: Tensor, low: float, high: float) -> Tensor:
    return (
        x.clamp(low if math.isfinite(low) else None, high if math.isfinite(high) else None)
        if (math.isfinite(low) or math.isfinite(high))
        else x
    )


def _elu(x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    """Return elu by PyTorch's own operator, which torch.export keeps whole; it takes no numbers beyond float32's."""
    if _refused_elu(alpha, scale, input_scale) is None:
        return torch.ops.aten.elu.default(x, alpha, scale, input_scale)
    return torch.where(x > 0, scale * x, scale * alpha * torch.expm1(input_scale * x))


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "negative": torch.neg,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": _elu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": functional.softplus,
    "abs": torch.abs,
    "clamp": _clamp,
    "square": torch.square,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "reciprocal": torch.reciprocal,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
}
"""Each function by name, called with x and the node's arguments."""

_LARGEST, _LEAST = 2.0**126, 2.0**-126


def refused_arguments(function: str, arguments: Sequence[float]) -> str | None:
    """Return why no bound is known for a function with these arguments, or None if one is.

    Bounds are proved for every finite slope and every pair of limits. Refused is what is not a number, what overflows
    in float32 or makes kernels divide by 0, and what has no limit where kernels say it has one.

    Examples
    --------
    >>> refused_arguments("softplus", (0.0, 20.0))
    'its beta is 0.0; a beta is between 2^-126 and 2^126 in size'
    """
    check = _REFUSED.get(function)
    if any(math.isnan(number) for number in arguments):
        return "an argument is not a number"
    return None if check is None or not arguments else check(*arguments)


def _refused_slope(slope: float) -> str | None:
    return None if abs(slope) <= _LARGEST else f"its slope is {slope}; a slope is at most 2^126 in size"


def _refused_elu(alpha: float, scale: float, input_scale: float) -> str | None:
    if max(abs(alpha), abs(scale), abs(scale * alpha), abs(scale * alpha * input_scale)) > _LARGEST:
        return f"its alpha is {alpha}, its scale {scale}; their product is at most 2^126 in size"
    if not _LEAST <= input_scale <= _LARGEST:
        return f"it scales its input by {input_scale}; such a factor (1/alpha of celu) is between 2^-126 and 2^126"
    return None


def _refused_softplus(beta: float, threshold: float) -> str | None:
    if not _LEAST <= abs(beta) <= _LARGEST:
        return f"its beta is {beta}; a beta is between 2^-126 and 2^126 in size"
    return "its threshold is -inf" if threshold == -math.inf else None


def _refused_clamp(low: float, high: float) -> str | None:
    return "it clamps to infinity" if low == math.inf or high == -math.inf else None


_REFUSED: dict[str, Callable[..., str | None]] = {
    "leaky_relu": _refused_slope,
    "elu": _refused_elu,
    "softplus": _refused_softplus,
    "clamp": _refused_clamp,
}


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """y = f(x), entry by entry.

    Parameters
    ----------
    function
        One of `FUNCTIONS`.
    arguments
        The function's other arguments: leaky_relu (negative_slope), elu (alpha, scale, input_scale),
        softplus (beta, threshold), clamp (low, high; may be infinite); the others have none.
    """

    function: str
    arguments: tuple[float, ...] = ()

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return f(x)."""
        (x,) = values
        return FUNCTIONS[self.function](x, *self.arguments)


@dataclass(frozen=True, kw_only=True)
class PReLU:
    """y = x where x > 0, else slope * x, with a slope for each channel (axis 0 of an example) or one for all.

    Parameters
    ----------
    slope
        The name of the slopes, (channels,) or (1,).
    """

    slope: str

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the rectified x."""
        (x,) = values
        return functional.prelu(x, parameters[self.slope])
