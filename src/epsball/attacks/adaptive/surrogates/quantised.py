"""Quantised tensors: quantisation passed straight through, quantised layers as the layers of their weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from epsball.attacks.adaptive.surrogates.call import Call, Surrogate
from epsball.attacks.adaptive.surrogates.rounding import straight_through


def stored(call: Call) -> Tensor:
    """Return the numbers behind a quantised tensor, (x / scale) + zero point."""
    given = call.given[0]
    return call.args[0] / given.q_scale() + given.q_zero_point()


def _linear(call: Call, packed: Any) -> Tensor:
    weight, bias = packed.unpack()
    return functional.linear(call.args[0], weight.dequantize(), bias)


def _convolution(convolve: Callable[..., Tensor]) -> Callable[[Call, Any], Tensor]:
    def of(call: Call, packed: Any) -> Tensor:
        weight, bias = packed.unpack()
        geometry = [list(getattr(packed, name)()) for name in ("stride", "padding", "dilation")]
        return convolve(call.args[0], weight.dequantize(), bias, *geometry, packed.groups())

    return of


def _layer(of: Callable[[Call, Any], Tensor], *, rectified: bool) -> Surrogate:
    def surrogate(call: Call) -> Tensor:
        value = of(call, call.given[1])
        return value.relu() if rectified else value

    return surrogate


def _of_two(combine: Callable[[Any, Any], Tensor], *, rectified: bool) -> Surrogate:
    def surrogate(call: Call) -> Tensor:
        value = combine(*call.args[:2])
        return value.relu() if rectified else value

    return surrogate


def _joined(call: Call) -> Tensor:
    return torch.cat(list(call.args[0]), call.argument(1, "dim", 0))


_LAYERS: dict[str, Callable[[Call, Any], Tensor]] = {
    "linear": _linear,
    "linear_dynamic": _linear,
    "conv1d": _convolution(functional.conv1d),
    "conv2d": _convolution(functional.conv2d),
    "conv3d": _convolution(functional.conv3d),
}

QUANTISED: dict[str, Surrogate] = {
    **dict.fromkeys(("quantize_per_tensor", "quantize_per_channel", "dequantize"), straight_through),
    **dict.fromkeys(("quantize_per_tensor_dynamic",), straight_through),
    "int_repr": stored,
    **{f"quantized::{name}": _layer(layer, rectified=False) for name, layer in _LAYERS.items()},
    "quantized::linear_relu": _layer(_linear, rectified=True),
    "quantized::linear_relu_dynamic": _layer(_linear, rectified=True),
    "quantized::conv2d_relu": _layer(_LAYERS["conv2d"], rectified=True),
    "quantized::add": _of_two(torch.add, rectified=False),
    "quantized::add_relu": _of_two(torch.add, rectified=True),
    "quantized::mul": _of_two(torch.mul, rectified=False),
    "quantized::cat": _joined,
}
"""Surrogates by the operation's name."""
