"""Kinds that move, copy, join or interpolate entries: linear, with non-negative coefficients."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from epsball.graph.kinds.kind import Parameters

PadMode = Literal["constant", "reflect", "replicate", "circular"]
UpsampleMode = Literal["nearest", "nearest-exact", "linear", "bilinear", "trilinear"]


@dataclass(frozen=True, kw_only=True)
class Reshape:
    """The same entries, in the order of memory, under another shape."""

    shape: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return x under the shape."""
        (x,) = values
        return x.reshape(len(x), *self.shape)


@dataclass(frozen=True, kw_only=True)
class Permute:
    """Axes in another order: axis i of the result is axis ``axes[i]`` of x."""

    axes: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return x with its axes permuted."""
        (x,) = values
        return x.permute(0, *(axis + 1 for axis in self.axes))


@dataclass(frozen=True, kw_only=True)
class Expand:
    """Axes of length 1 repeated to the given shape."""

    shape: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the expanded x."""
        (x,) = values
        return x.expand(len(x), *self.shape)


@dataclass(frozen=True, kw_only=True)
class Concatenate:
    """Inputs concatenated along an axis."""

    axis: int

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the inputs concatenated; a constant is repeated for every example."""
        n = max(len(value) for value in values)
        return torch.cat([value.expand(n, *value.shape[1:]) for value in values], dim=self.axis + 1)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Entries start, start + step, ... before `end` of an axis."""

    axis: int
    start: int
    end: int
    step: int = 1

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the entries."""
        (x,) = values
        return x[(slice(None),) * (self.axis + 1) + (slice(self.start, self.end, self.step),)]


@dataclass(frozen=True, kw_only=True)
class Gather:
    """Entries of an axis by index, in the given order, repetitions allowed."""

    axis: int
    index: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the entries."""
        (x,) = values
        return x.index_select(self.axis + 1, torch.tensor(self.index, device=x.device))


@dataclass(frozen=True, kw_only=True)
class Pad:
    """Borders added to the last axes.

    Parameters
    ----------
    widths
        Before and after each axis, the last axis first, as `torch.nn.functional.pad` takes them.
    mode
        ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
    value
        The value of a constant border.
    """

    widths: tuple[int, ...]
    mode: PadMode = "constant"
    value: float = 0.0

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return x with its borders."""
        (x,) = values
        if self.mode == "constant":
            return functional.pad(x, self.widths, value=self.value)
        return functional.pad(x, self.widths, mode=self.mode)


@dataclass(frozen=True, kw_only=True)
class Upsample:
    """Interpolation to a given size.

    Parameters
    ----------
    size
        The size of the result, one number per spatial axis.
    mode
        ``"nearest"``, ``"nearest-exact"``, ``"linear"``, ``"bilinear"`` or ``"trilinear"``.
    align_corners
        As in `torch.nn.functional.interpolate`.
    scales
        The factors by which the kernel places its samples; if empty, they follow from the sizes.
    """

    size: tuple[int, ...]
    mode: UpsampleMode
    align_corners: bool | None = None
    scales: tuple[float, ...] = ()

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the interpolated x."""
        (x,) = values
        if self.scales:
            return functional.interpolate(x, scale_factor=self.scales, mode=self.mode, align_corners=self.align_corners)
        return functional.interpolate(x, self.size, mode=self.mode, align_corners=self.align_corners)
