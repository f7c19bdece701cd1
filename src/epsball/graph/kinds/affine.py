"""Kinds that are affine in their one input and have parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from epsball.graph.kinds.kind import Parameters

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


@dataclass(frozen=True, kw_only=True)
class Linear:
    """y = x W^T + b over the last axis.

    Parameters
    ----------
    weight, bias
        Names of W, (out, in), and of b, (out,), or None.
    """

    weight: str
    bias: str | None = None

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return x W^T + b, in the widest of their types: rows after a network may need more digits than it has."""
        (x,) = values
        weight, bias = parameters[self.weight], _optional(self.bias, parameters)
        if x.dtype != weight.dtype or (bias is not None and bias.dtype != x.dtype):
            widest = torch.promote_types(x.dtype, weight.dtype)
            widest = widest if bias is None else torch.promote_types(widest, bias.dtype)
            x, weight, bias = x.to(widest), weight.to(widest), None if bias is None else bias.to(widest)
        return functional.linear(x, weight, bias)


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution with zero padding, or (`transposed`) the transpose of one, in 1, 2 or 3 dimensions.

    Other padding modes are a separate `Pad` node before it.

    Parameters
    ----------
    weight, bias
        Names of the weight, (out, in/groups, *kernel), transposed (in, out/groups, *kernel), and
        of the bias, (out,), or None.
    stride, padding, dilation
        One number per spatial axis; padding is the same on both sides.
    groups
        Number of groups of channels.
    transposed
        Whether it is the transpose.
    output_padding
        For a transposed convolution, one number per spatial axis; otherwise empty.
    """

    weight: str
    bias: str | None = None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the convolution of x."""
        (x,) = values
        weight, bias = parameters[self.weight], _optional(self.bias, parameters)
        if self.transposed:
            return _TRANSPOSED[len(self.stride)](
                x, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
            )
        return _CONVOLUTIONS[len(self.stride)](x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, per channel (axis 0 of an example).

    Parameters
    ----------
    mean, variance
        Names of the running statistics; training hands in those of the clean batch.
    weight, bias
        Names of gain and shift, or None.
    eps
        Added to the variance.
    """

    mean: str
    variance: str
    weight: str | None = None
    bias: str | None = None
    eps: float

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the normalised x."""
        (x,) = values
        mean, variance = parameters[self.mean], parameters[self.variance]
        weight, bias = _optional(self.weight, parameters), _optional(self.bias, parameters)
        if mean.requires_grad or variance.requires_grad:
            # PyTorch's kernel has no gradient in them: statistics of a batch, as functions of the layers before.
            view = (-1, *(1,) * (x.ndim - 2))
            y = (x - mean.view(view)) * torch.rsqrt(variance + self.eps).view(view)
            y = y if weight is None else y * weight.view(view)
            return y if bias is None else y + bias.view(view)
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.eps)


def _optional(name: str | None, parameters: Parameters) -> torch.Tensor | None:
    return None if name is None else parameters[name]
