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


class Reach(NamedTuple):
    """What rows at a place p see of a node: on each axis, entries scale p + start to scale p + start + length.

    It may lie beyond the borders.
    """

    scales: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    def before(self, kind: Convolution, kernel: tuple[int, ...]) -> "Reach":
        """Return what they see of the input of a convolution with such a kernel."""
        scales = (scale * step for scale, step in zip(self.scales, kind.stride, strict=True))
        starts = (
            start * step - padding for start, step, padding in zip(self.starts, kind.stride, kind.padding, strict=True)
        )
        return Reach(tuple(scales), tuple(starts), unpadded_lengths(self.lengths, kind, kernel))

    def joined(self, other: "Reach | None") -> "Reach | None":
        """Return what is seen by either; None where places move them by different steps."""
        if other is None or other == self:
            return self
        if self.scales != other.scales:
            return None
        starts = tuple(map(min, self.starts, other.starts))
        ends = map(max, self.ends, other.ends)
        return Reach(self.scales, starts, tuple(end - start for start, end in zip(starts, ends, strict=True)))

    @property
    def ends(self) -> tuple[int, ...]:
        """Return the first entries after it."""
        return tuple(start + length for start, length in zip(self.starts, self.lengths, strict=True))


class Coefficients(NamedTuple):
    """Coefficients (n, r, *shape), or (n, r, channels, *window) that are 0 outside a window.

    The window is the same for all rows, or, as a `Reach`, that of each row's place: vectors are over windows then.
    """

    values: Tensor
    window: Window | Reach | None = None

    def dense(self, shape: tuple[int, ...]) -> Tensor:
        """Return the coefficients over the whole node."""
        if self.window is None or isinstance(self.window, Reach):
            return self.values
        widths = [
            width
            for part, length in zip(reversed(self.window), reversed(shape[1:]), strict=True)
            for width in (part.start, length - part.stop)
        ]
        return functional.pad(self.values, widths) if any(widths) else self.values

    def crop(self, vector: Tensor) -> Tensor:
        """Return what of (..., channels, *spatial) lies in the window."""
        if self.window is None or isinstance(self.window, Reach):
            return vector
        return vector[(..., *self.window)]

    def crop_shared(self, vector: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return what of a vector that all examples share, (1, channels, ...), lies in the window."""
        if isinstance(self.window, Reach):
            return vector.expand(1, *self.values.shape[2:])
        return self.crop(vector.expand(1, *shape))

    def plus(self, other: "Coefficients", shape: tuple[int, ...]) -> "Coefficients":
        """Return the sum of two rows over one node."""
        if self.window == other.window:
            return Coefficients(self.values + other.values, self.window)
        if isinstance(self.window, Reach) and isinstance(other.window, Reach):
            both = self.window.joined(other.window) or self.window
            return Coefficients(self._within(both) + other._within(both), both)
        return Coefficients(self.dense(shape) + other.dense(shape))

    def _within(self, reach: Reach) -> Tensor:
        """Return the values over a reach that holds that of these."""
        own = self.window if isinstance(self.window, Reach) else reach
        widths = [
            width
            for start, end, first, last in zip(
                reversed(own.starts), reversed(own.ends), reversed(reach.starts), reversed(reach.ends), strict=True
            )
            for width in (start - first, last - end)
        ]
        return functional.pad(self.values, widths) if any(widths) else self.values


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
    unpadded = unpadded_lengths(lengths, kind, tuple(weight.shape[2:]))
    if isinstance(rows.window, Reach):
        window = rows.window.before(kind, tuple(weight.shape[2:]))
        inside = tuple(slice(0, length) for length in unpadded)
    else:
        window, inside = _receptive(rows.window, kind, shape, unpadded)
    extents = tuple(part.stop - part.start for part in inside)
    bare = replace(kind, bias=None, padding=(0,) * len(kind.stride))

    def carry(values: Tensor) -> Tensor:
        return convolution_transpose(values, weight, bare, (shape[0], *unpadded))[(..., *inside)]

    if math.prod(unpadded) * shape[0] * math.prod(lengths) * weight.shape[0] > LARGEST_MATRIX:
        return Coefficients(carry(rows.values.flatten(0, 1)).unflatten(0, lead), window)
    key = (kind, lengths, tuple((part.start, part.stop) for part in inside))
    if key not in matrices:
        size = weight.shape[0] * math.prod(lengths)
        basis = torch.eye(size, dtype=weight.dtype, device=weight.device).view(size, weight.shape[0], *lengths)
        matrices[key] = carry(basis).flatten(1)
    carried = rows.values.flatten(2) @ matrices[key]
    return Coefficients(carried.unflatten(2, (shape[0], *extents)), window)


def unpadded_lengths(lengths: tuple[int, ...], kind: Convolution, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Return how much of its input a window of a convolution's output takes, padding included."""
    return tuple(
        stride * (length - 1) + dilation * (size - 1) + 1
        for stride, length, dilation, size in zip(kind.stride, lengths, kind.dilation, kernel, strict=True)
    )


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
