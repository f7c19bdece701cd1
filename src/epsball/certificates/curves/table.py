"""The curves by the names of `epsball.graph.kinds.FUNCTIONS`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.curves.curve import Curve
from epsball.certificates.curves.wave import Wave
from epsball.errors import UnsupportedOperation
from epsball.graph.kinds import FUNCTIONS, refused_arguments

_GELU_CUT, _GELU_TURN = math.sqrt(2.0), -0.75179152469356445746
_GELU_TANH_CUT, _GELU_TANH_TURN = 1.4185040087908283555, -0.75246142207101625849
_SILU_CUT, _SILU_TURN = 2.3993572805154676678, -1.2784645427610737951
_MISH_CUTS, _MISH_TURN = (-2.25637639636079312, 1.4905711794854284593), -1.1924312145154952121
_SQRT_2, _PHI_0 = math.sqrt(2.0), 1 / math.sqrt(2 * math.pi)
_BEND = (False, True, False)
_SCALED = {"reach": 2.0**-100}
"""A slope below 2^-126 may be taken for 0: 2^-126 abs(x) is less than a unit of 2^-100 abs(x)."""


def _of_input(factor: float) -> Callable[[Box], Tensor]:
    return lambda box: factor * box.magnitude


def _ones(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def _gelu_slope(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x / _SQRT_2) + x * _PHI_0 * torch.exp(-0.5 * x * x)


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    share = torch.sigmoid(2 * inner)
    return share + 2 * x * share * torch.sigmoid(-2 * inner) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)


def _silu_slope(x: Tensor) -> Tensor:
    share = torch.sigmoid(x)
    return share * (1 + x * torch.sigmoid(-x))


def _mish_slope(x: Tensor) -> Tensor:
    curved = torch.tanh(torch.nn.functional.softplus(x))
    return curved + x * (1 - curved * curved) * torch.sigmoid(x)


def _inside(x: Tensor, low: float, high: float) -> Tensor:
    return ((x > low) & (x < high)).to(x.dtype)


def _leaky_relu(negative_slope: float = 0.01) -> dict:
    return {
        **_SCALED,
        "flushed": (1 + abs(negative_slope)) * 2.0**-125,
        "slope": lambda x: _ones(x).where(x > 0, torch.full_like(x, negative_slope)),
        "cuts": (0.0,),
        "convex": (True, True),
        "straight": True,
        "turns": (0.0,),
        "ulps": 3.0,
    }


def _elu(alpha: float, scale: float, input_scale: float) -> dict:
    return {
        **_SCALED,
        "flushed": (abs(scale) + 4 * abs(scale * alpha * input_scale)) * 2.0**-125,
        "slope": lambda x: torch.where(
            x > 0, scale, scale * alpha * input_scale * torch.exp(input_scale * x.clamp(max=0))
        ),
        "cuts": (0.0,),
        "convex": (scale * alpha >= 0, True),
        "turns": (0.0,),
        "offset": abs(scale * alpha),
    }


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> dict:
    """Return log(1 + exp(z)) / beta with z = beta x, x itself where z > threshold; concave where beta < 0.

    The two differ by log(1 + exp(-z)) / |beta|, at the threshold by half the jump. exp(z) overflows before its
    logarithm does: in float64 the second is taken from z = 700 on at the latest.
    """
    convex, largest = beta > 0, threshold
    threshold = min(threshold, 700.0)
    return {
        "value": lambda x: torch.nn.functional.softplus(x, beta, threshold),
        "slope": lambda x: torch.sigmoid(beta * x),
        "cuts": (threshold / beta,),
        "convex": (convex, convex),
        "jump": 2 * (max(-threshold, 0.0) + math.log1p(math.exp(-abs(threshold)))) / abs(beta),
        "inner": lambda box: torch.exp(torch.maximum(beta * box.low, beta * box.high).clamp(max=largest)),
        "offset": 1 / abs(beta),
    }


def _clamp(low: float, high: float) -> dict:
    ends = tuple(sorted(end for end in (low, high) if math.isfinite(end)))
    exact = all(torch.tensor(end, dtype=torch.float32).item() == end for end in ends)
    return {
        "slope": lambda x: _inside(x, low, high),
        "cuts": ends,
        "convex": (True,) * (len(ends) + 1),
        "straight": True,
        "ulps": 0.0 if exact else 1.0,
        "offset": max((abs(end) for end in ends), default=0.0),
    }


_SHAPES: dict[str, Callable[..., dict]] = {
    "negative": lambda: {"slope": lambda x: -_ones(x), "straight": True, "ulps": 0.0},
    "relu": lambda: {
        "slope": lambda x: (x > 0).to(x.dtype),
        "cuts": (0.0,),
        "convex": (True, True),
        "straight": True,
        "ulps": 0.0,
        "increasing": True,
    },
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": lambda: {
        "slope": _gelu_slope,
        "cuts": (-_GELU_CUT, _GELU_CUT),
        "convex": _BEND,
        "turns": (_GELU_TURN,),
        "reach": 1.0,
        "inner": _of_input(4.0),
    },
    "gelu_tanh": lambda: {
        "slope": _gelu_tanh_slope,
        "cuts": (-_GELU_TANH_CUT, _GELU_TANH_CUT),
        "convex": _BEND,
        "turns": (_GELU_TANH_TURN,),
        "reach": 4.0,
        "inner": lambda box: (4 + box.magnitude * box.magnitude) * box.magnitude,
    },
    "silu": lambda: {
        "slope": _silu_slope,
        "cuts": (-_SILU_CUT, _SILU_CUT),
        "convex": _BEND,
        "turns": (_SILU_TURN,),
        "reach": 1.0,
    },
    "mish": lambda: {
        "slope": _mish_slope,
        "cuts": _MISH_CUTS,
        "convex": _BEND,
        "turns": (_MISH_TURN,),
        "reach": 1.0,
    },
    "hardswish": lambda: {
        "slope": lambda x: torch.where(x >= 3, 1.0, torch.where(x <= -3, 0.0, x / 3 + 0.5)),
        "cuts": (-3.0, 3.0),
        "convex": (True, True, True),
        "turns": (-1.5,),
        "reach": 2.0,
        "inner": _of_input(8.0),
    },
    "hardsigmoid": lambda: {
        "slope": lambda x: _inside(x, -3.0, 3.0) / 6,
        "cuts": (-3.0, 3.0),
        "convex": (True, True, True),
        "straight": True,
        "reach": 1.0,
        "offset": 1.0,
    },
    "sigmoid": lambda: {
        "slope": lambda x: torch.sigmoid(x) * torch.sigmoid(-x),
        "floor": 0.0,
        "cuts": (0.0,),
        "convex": (True, False),
    },
    "tanh": lambda: {
        "slope": lambda x: 4 * torch.sigmoid(2 * x) * torch.sigmoid(-2 * x),
        "cuts": (0.0,),
        "convex": (True, False),
    },
    "softplus": _softplus,
    "abs": lambda: {
        "slope": torch.sign,
        "cuts": (0.0,),
        "convex": (True, True),
        "turns": (0.0,),
        "straight": True,
        "ulps": 0.0,
    },
    "clamp": _clamp,
    "square": lambda: {"slope": lambda x: 2 * x, "turns": (0.0,), "ulps": 1.0, "floor": 0.0},
    "exp": lambda: {"slope": torch.exp, "floor": 0.0},
    "log": lambda: {"slope": torch.reciprocal, "convex": (False,), "low": 0.0, "flushed": math.inf},
    "sqrt": lambda: {
        "slope": lambda x: 0.5 * torch.rsqrt(x),
        "convex": (False,),
        "low": -math.ulp(0.0),
        "floor": 0.0,
        "flushed": 2.0**-63,
    },
    "reciprocal": lambda: {
        "slope": lambda x: -1 / (x * x),
        "cuts": (0.0,),
        "convex": (False, True),
        "pole": 0.0,
        "flushed": math.inf,
    },
    "erf": lambda: {
        "slope": lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x),
        "cuts": (0.0,),
        "convex": (True, False),
    },
}

_PHASES = {"sin": 0.0, "cos": math.pi / 2}


def _wave(phase: float) -> dict:
    """Return sin(x + phase); its kernels are off by units of 1, since x is reduced before."""
    return {
        "phase": phase,
        "slope": lambda x: torch.cos(x) if phase == 0 else -torch.sin(x),
        "convex": (False, True, False, True),
        "offset": 1.0,
    }


def curve_of(function: str, arguments: tuple[float, ...]) -> Curve:
    """Return the curve of a function with its arguments.

    Raises
    ------
    UnsupportedOperation
        If there is none, or none with these arguments.
    """
    if function in _PHASES:
        return Wave(value=FUNCTIONS[function], **_wave(_PHASES[function]))
    shape = _SHAPES.get(function)
    if shape is None:
        raise UnsupportedOperation(f"no bounds for the function '{function}'; there are for {', '.join(_SHAPES)}.")
    why = refused_arguments(function, arguments)
    if why is not None:
        raise UnsupportedOperation(f"no bounds for the function '{function}': {why}.")
    forward = FUNCTIONS[function]
    return Curve(**{"value": lambda x: forward(x, *arguments), **shape(*arguments)})
