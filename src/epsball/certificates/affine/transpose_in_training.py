"""The transpose of a convolution in training: the kernels of a convolution's own derivatives, and theirs by hand."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from epsball.graph.kinds import Convolution

_THIN = 4
"""Channels up to which columns are added up: the kernels take twice as long there."""


class _Transposed(torch.autograd.Function):
    """r to r W, with r' W^T and the weight gradient of a convolution of that (its input) with r (its output's)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, kind: Convolution, shape: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.kind = kind
        if len(kind.stride) == 2 and kind.groups == 1 and shape[0] <= _THIN:
            columns = weight.flatten(1).T @ rows.flatten(2)
            return functional.fold(columns, shape[1:], weight.shape[2:], kind.dilation, kind.padding, kind.stride)
        return _derivatives(rows, rows.new_empty(1).expand(len(rows), *shape), weight, kind, of_input=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, weight = ctx.saved_tensors
        over_input, kind = gradients[0].contiguous(), ctx.kind
        of_rows = torch.convolution(over_input, weight, None, *_geometry(kind))
        return of_rows, _derivatives(rows, over_input, weight, kind, of_input=False), None, None


def _derivatives(rows: Tensor, given: Tensor, weight: Tensor, kind: Convolution, *, of_input: bool) -> Tensor:
    """Return the derivative of rows . convolution(given) in its input, or in its weight."""
    asked = (of_input, not of_input, False)
    found = torch.ops.aten.convolution_backward(rows, given, weight, None, *_geometry(kind), asked)
    return found[0] if of_input else found[1]


def _geometry(kind: Convolution) -> tuple[Any, ...]:
    """Return what PyTorch's operators take of a convolution: it is not a transposed one, and pads no output."""
    return kind.stride, kind.padding, kind.dilation, False, (0,) * len(kind.stride), kind.groups


def transposed_in_training(rows: Tensor, weight: Tensor, kind: Convolution, shape: tuple[int, ...]) -> Tensor:
    """Return rows (m, c, *lengths) over a convolution as rows (m, *shape) over its input, differentiable once."""
    return cast("Tensor", _Transposed.apply(rows.contiguous(), weight, kind, shape))
