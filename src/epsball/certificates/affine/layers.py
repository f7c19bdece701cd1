"""Affine forms of the kinds that have parameters: linear, convolution, batch normalisation."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from epsball.certificates.affine.form import Affine
from epsball.certificates.affine.strided_transpose import transposed_by_phases
from epsball.certificates.affine.transpose_in_training import transposed_in_training
from epsball.certificates.arithmetic import BINARY32, OVERFLOW
from epsball.graph import Graph, Node
from epsball.graph.kinds import BatchNorm, Convolution, Linear, Parameters

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_BATCH_NORM_STEPS = 12
"""Roundings of a batch normalisation in any usual order: var + eps (two), root, inverse, products, sums; some spare."""
_LEAST_VARIANCE = 2.0**-100
"""Of var + eps: where one of the two is taken for 0, that is less than a rounding of their sum."""


def linear(node: Node, kind: Linear, graph: Graph, parameters: Parameters) -> Affine:
    """Y = x W^T + b over the last axis; each entry of a W has `out` terms."""
    weight = parameters[kind.weight]
    magnitude = weight.abs()
    return Affine(
        apply=lambda x: kind.forward(x, parameters=parameters),
        spread=lambda x: functional.linear(x, magnitude),
        transpose=lambda rows: (rows @ weight,),
        bias=None if kind.bias is None else parameters[kind.bias],
        terms=max(weight.shape) + 1,
        products=weight.shape[1],
        largest=_largest(magnitude),
    )


def convolution(node: Node, kind: Convolution, graph: Graph, parameters: Parameters) -> Affine:
    """Return the form of a convolution; an entry sums kernel x channels products, in both directions."""
    weight = parameters[kind.weight]
    magnitude = weight.abs()
    shape = graph[node.inputs[0]].shape
    trailing = (1,) * len(kind.stride)
    return Affine(
        apply=lambda x: kind.forward(x, parameters=parameters),
        spread=lambda x: _convolve(x, magnitude, kind),
        transpose=lambda rows: (convolution_transpose(rows, weight, kind, shape),),
        bias=None if kind.bias is None else parameters[kind.bias].view(1, -1, *trailing),
        terms=math.prod(weight.shape[2:]) * max(weight.shape[0], weight.shape[1]) + 1,
        products=weight[:, 0].numel() // kind.groups if kind.transposed else weight[0].numel(),
        largest=_largest(magnitude),
    )


def _convolve(x: Tensor, weight: Tensor, kind: Convolution) -> Tensor:
    """Return the convolution without its bias."""
    if kind.transposed:
        return _TRANSPOSED[len(kind.stride)](
            x, weight, None, kind.stride, kind.padding, kind.output_padding, kind.groups, kind.dilation
        )
    return _CONVOLUTIONS[len(kind.stride)](x, weight, None, kind.stride, kind.padding, kind.dilation, kind.groups)


def convolution_transpose(rows: Tensor, weight: Tensor, kind: Convolution, shape: tuple[int, ...]) -> Tensor:
    """Return rows over the output as rows over the input, of `shape`."""
    if kind.transposed:
        return _CONVOLUTIONS[len(kind.stride)](
            rows, weight, None, kind.stride, kind.padding, kind.dilation, kind.groups
        )
    if weight.requires_grad and torch.is_grad_enabled():
        return transposed_in_training(rows, weight, kind, shape)
    plain = kind.groups == 1 and set(kind.dilation) == {1}
    if plain and _few_products(weight, kind) and math.prod(weight.shape[1:]) > len(weight):
        return transposed_by_phases(rows, weight, kind.stride, kind.padding, shape[1:])
    reached = [
        (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
        for length, stride, padding, dilation, kernel in zip(
            rows.shape[2:], kind.stride, kind.padding, kind.dilation, weight.shape[2:], strict=True
        )
    ]
    # Inputs that no window reaches, because the stride does not divide what is left of the axis.
    rest = [length - end for length, end in zip(shape[1:], reached, strict=True)]
    return _TRANSPOSED[len(kind.stride)](
        rows, weight, None, kind.stride, kind.padding, rest, kind.groups, kind.dilation
    )


def _few_products(weight: Tensor, kind: Convolution) -> bool:
    """Return whether phases waste no products and are few: the stride divides the kernel, at most twice."""
    return all(
        kernel % stride == 0 and kernel <= 2 * stride
        for kernel, stride in zip(weight.shape[2:], kind.stride, strict=True)
    )


def batch_norm(node: Node, kind: BatchNorm, graph: Graph, parameters: Parameters) -> Affine:
    """Y = a x + (b - a mean), a = weight / sqrt(variance + eps), with abs(b) + abs(a mean) as the bias' magnitude.

    Kernels compute a x + (b - a mean) or (x - mean) invstd weight + b; either way each factor is off by a few
    units and each sum is at most abs(a) (abs(x) + abs(mean)) + abs(b), which `spread` and `bias` bound. On its way
    a kernel meets abs(x) + abs(mean) times 1, invstd or a. A weight that is taken for 0 loses 2^-126 invstd
    (abs(x) + abs(mean)), any other underflow 2^-126 times one of 1, abs(a), abs(weight), abs(x) and abs(mean).
    """
    scale, shift, reach = _batch_norm_terms(kind, parameters)
    mean, weight, inverse = _batch_norm_steps(kind, parameters)
    view = (1, -1) + (1,) * (len(node.shape) - 1)
    scale, shift, reach = scale.view(view), shift.view(view), reach.view(view)
    gain = torch.maximum(inverse, scale.abs().view(-1)).clamp(min=1.0).view(view)
    centre = 1 + mean.abs().view(view)
    return Affine(
        apply=lambda x: x * scale + shift,
        spread=lambda x: x * scale.abs(),
        transpose=lambda rows: (rows * scale,),
        bias=shift,
        bias_magnitude=reach,
        terms=_BATCH_NORM_STEPS,
        pointwise=True,
        largest=_largest(scale.abs()) + _largest(weight.abs()) + _largest(mean.abs()),
        flush=max(1.0, _largest(inverse[weight.abs() < BINARY32.tiny])),
        inner=lambda size, magnitude: (size + centre) * gain,
    )


def _batch_norm_terms(kind: BatchNorm, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance = parameters[kind.mean], parameters[kind.variance]
    weight = torch.ones_like(mean) if kind.weight is None else parameters[kind.weight]
    bias = torch.zeros_like(mean) if kind.bias is None else parameters[kind.bias]
    scale = weight / torch.sqrt(variance + kind.eps)
    return scale, bias - scale * mean, bias.abs() + (scale * mean).abs()


def _batch_norm_steps(kind: BatchNorm, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, weight and 1 / sqrt(variance + eps), infinite where float32 may round the sum to 0 or overflow."""
    mean, variance = parameters[kind.mean].detach(), parameters[kind.variance].detach()
    weight = torch.ones_like(mean) if kind.weight is None else parameters[kind.weight].detach()
    total = variance + kind.eps
    normal = (total >= _LEAST_VARIANCE) & (total <= OVERFLOW)
    return mean, weight, torch.where(normal, torch.rsqrt(total), math.inf)


def _largest(magnitude: Tensor) -> float:
    return magnitude.detach().max().item() if magnitude.numel() else 0.0
