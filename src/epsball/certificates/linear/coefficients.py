"""`Coefficients`: rows of coefficients over a node's value, dense or in a window of its spatial axes."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from epsball.certificates.affine.layers import convolution_transpose
from epsball.graph.kinds import Convolution

Window = tuple[slice, ...]
"""One range per spatial axis; axis 0 of an example, the channels, is always whole."""

CACHE = 2**22
"""Bytes of coefficients carried at once: those that stay in a core's cache cost half as much (measured)."""

_TEMPORARIES = 8
"""Tensors of the size of the coefficients that live at once in a step."""

LARGEST_MATRIX = 2**18
"""Entries up to which a window's convolution is one matrix: its zeros cost less than many small kernels do."""


class Coefficients(NamedTuple):
    """Coefficients (n, r, *shape), or (n, r, channels, *window) that are 0 outside a window."""

    values: Tensor
    window: Window | None = None

    def dense(self, shape: tuple[int, ...]) -> Tensor:
        """Return the coefficients over the whole node."""
        if self.window is None:
            return self.values
        widths = [
            width
            for part, length in zip(reversed(self.window), reversed(shape[1:]), strict=True)
            for width in (part.start, length - part.stop)
        ]
        return functional.pad(self.values, widths) if any(widths) else self.values

    def crop(self, vector: Tensor) -> Tensor:
        """Return what of (..., channels, *spatial) lies in the window."""
        return vector if self.window is None else vector[(..., *self.window)]

    def plus(self, other: "Coefficients", shape: tuple[int, ...]) -> "Coefficients":
        """Return the sum of two rows over one node."""
        if self.window == other.window:
            return Coefficients(self.values + other.values, self.window)
        return Coefficients(self.dense(shape) + other.dense(shape))


def through_convolution(
    rows: Coefficients, weight: Tensor, kind: Convolution, shape: tuple[int, ...], matrices: dict[Any, Tensor]
) -> Coefficients:
    """Return rows over a convolution's output as rows over its input: a window sees its receptive field.

    Parameters
    ----------
    rows, weight, kind, shape
        Rows over the output, the convolution, and the shape of its input.
    matrices
        Where the matrices of small windows are kept.
    """
    lead = rows.values.shape[:2]
    if rows.window is None:
        return Coefficients(convolution_transpose(rows.values.flatten(0, 1), weight, kind, shape).unflatten(0, lead))
    lengths = tuple(rows.values.shape[3:])
    unpadded = tuple(
        stride * (length - 1) + dilation * (kernel - 1) + 1
        for stride, length, dilation, kernel in zip(kind.stride, lengths, kind.dilation, weight.shape[2:], strict=True)
    )
    window, inside = _receptive(rows.window, kind, shape, unpadded)
    bare = replace(kind, bias=None, padding=(0,) * len(kind.stride))

    def carry(values: Tensor) -> Tensor:
        return convolution_transpose(values, weight, bare, (shape[0], *unpadded))[(..., *inside)]

    if math.prod(unpadded) * shape[0] * math.prod(lengths) * weight.shape[0] > LARGEST_MATRIX:
        return Coefficients(carry(rows.values.flatten(0, 1)).unflatten(0, lead), window)
    key = (kind.weight, lengths, tuple((part.start, part.stop) for part in inside))
    if key not in matrices:
        size = weight.shape[0] * math.prod(lengths)
        basis = torch.eye(size, dtype=weight.dtype, device=weight.device).view(size, weight.shape[0], *lengths)
        matrices[key] = carry(basis).flatten(1)
    carried = rows.values.flatten(2) @ matrices[key]
    return Coefficients(carried.unflatten(2, (shape[0], *(part.stop - part.start for part in window))), window)


def _receptive(
    window: Window, kind: Convolution, shape: tuple[int, ...], unpadded: tuple[int, ...]
) -> tuple[Window, Window]:
    """Return the window over the input, and where it lies in the transpose without padding."""
    outer, inside = [], []
    for part, stride, padding, length, extent in zip(
        window, kind.stride, kind.padding, shape[1:], unpadded, strict=True
    ):
        origin = part.start * stride - padding
        start = max(0, origin)
        stop = max(start, min(length, origin + extent))
        outer.append(slice(start, stop))
        inside.append(slice(start - origin, stop - origin))
    return tuple(outer), tuple(inside)


def room_for(max_memory: int | None) -> int:
    """Return the bytes of coefficients to carry at once under a bound on all memory, or none."""
    return CACHE if max_memory is None else min(CACHE, max(1, max_memory // _TEMPORARIES))
