"""`Rows`: coefficients over a node's value, dense or in a window of its spatial axes."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from epsball.certificates.affine.weighted import convolution_transpose
from epsball.graph.kinds import Convolution

Window = tuple[slice, ...]
"""A range on each spatial axis; axis 0 of an example, the channels, is always whole."""


class Rows(NamedTuple):
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

    def plus(self, other: "Rows", shape: tuple[int, ...]) -> "Rows":
        """Return the sum of two rows over one node."""
        if self.window == other.window:
            return Rows(self.values + other.values, self.window)
        return Rows(self.dense(shape) + other.dense(shape))


def through_convolution(rows: Rows, weight: Tensor, kind: Convolution, shape: tuple[int, ...]) -> Rows:
    """Return rows over a convolution's output as rows over its input: a window sees its receptive field."""
    values = rows.values.flatten(0, 1)
    if rows.window is None or kind.transposed:
        pulled = convolution_transpose(rows.dense(_output_shape(rows)).flatten(0, 1), weight, kind, shape)
        return Rows(pulled.unflatten(0, rows.values.shape[:2]))
    unpadded = tuple(
        stride * (length - 1) + dilation * (kernel - 1) + 1
        for stride, length, dilation, kernel in zip(
            kind.stride, values.shape[2:], kind.dilation, weight.shape[2:], strict=True
        )
    )
    bare = _without_padding(kind)
    pulled = convolution_transpose(values, weight, bare, (shape[0], *unpadded))
    window, inside = [], []
    for part, stride, padding, length, extent in zip(
        rows.window, kind.stride, kind.padding, shape[1:], unpadded, strict=True
    ):
        origin = part.start * stride - padding
        start, stop = max(0, origin), min(length, origin + extent)
        window.append(slice(start, max(start, stop)))
        inside.append(slice(start - origin, max(start, stop) - origin))
    return Rows(pulled[(..., *inside)].unflatten(0, rows.values.shape[:2]), tuple(window))


def _output_shape(rows: Rows) -> tuple[int, ...]:
    return tuple(rows.values.shape[2:])


def _without_padding(kind: Convolution) -> Convolution:
    return Convolution(
        weight=kind.weight,
        stride=kind.stride,
        padding=(0,) * len(kind.stride),
        dilation=kind.dilation,
        groups=kind.groups,
    )
