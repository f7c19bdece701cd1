"""Pooling over windows, and reductions over whole axes."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from epsball.graph.kinds.kind import Parameters

_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_ADAPTIVE = {
    1: functional.adaptive_avg_pool1d,
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """The maximum over windows; padding counts as minus infinity."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the pooled x."""
        (x,) = values
        return _MAX[len(self.kernel)](x, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)


@dataclass(frozen=True, kw_only=True)
class AveragePool:
    """The mean over windows.

    Parameters
    ----------
    kernel, stride, padding
        One number per spatial axis.
    ceil_mode
        Whether to keep windows that begin inside the padded input but end outside.
    count_include_pad
        Whether the divisor counts padding.
    divisor
        A fixed divisor, in two and three dimensions, or None.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the pooled x."""
        (x,) = values
        options = (self.kernel, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        if len(self.kernel) == 1:
            return functional.avg_pool1d(x, *options)
        pool = functional.avg_pool2d if len(self.kernel) == 2 else functional.avg_pool3d
        return pool(x, *options, self.divisor)


@dataclass(frozen=True, kw_only=True)
class AdaptiveAveragePool:
    """The mean over windows chosen so that the result has the given size."""

    size: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the pooled x."""
        (x,) = values
        return _ADAPTIVE[len(self.size)](x, self.size)


@dataclass(frozen=True, kw_only=True)
class Sum:
    """The sum over axes of an example, which stay with length 1."""

    axes: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the sum."""
        (x,) = values
        return x.sum(dim=[axis + 1 for axis in self.axes], keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over axes of an example, which stay with length 1."""

    axes: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the mean."""
        (x,) = values
        return x.mean(dim=[axis + 1 for axis in self.axes], keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Max:
    """The maximum over axes of an example, which stay with length 1."""

    axes: tuple[int, ...]

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the maximum."""
        (x,) = values
        return x.amax(dim=[axis + 1 for axis in self.axes], keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """exp(x_i) / sum_j exp(x_j) over one axis of an example."""

    axis: int

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the softmax."""
        (x,) = values
        return x.softmax(dim=self.axis + 1)


@dataclass(frozen=True, kw_only=True)
class LogSoftmax:
    """x_i - log sum_j exp(x_j) over one axis of an example."""

    axis: int

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the logarithm of the softmax."""
        (x,) = values
        return x.log_softmax(dim=self.axis + 1)
