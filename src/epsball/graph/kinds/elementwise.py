"""Functions of one variable, applied entry by entry."""

import math
from collections.abc import Callable
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


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "negative": torch.neg,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": lambda x, alpha, scale, input_scale: torch.where(
        x > 0, scale * x, scale * alpha * torch.expm1(input_scale * x)
    ),
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
}
"""Each function by name, called with x and the node's arguments."""


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
