"""Kernel, stride, padding and dilation of convolutions and pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from epsball.graph import decompositions, kinds, operations
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.value import Value


@dataclass(frozen=True)
class Window:
    """The windows of a convolution or pool, one entry per spatial axis; pads are (before, after)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def symmetric(self) -> bool:
        """Whether every axis is padded equally before and after."""
        return all(before == after for before, after in self.pads)


def window(call: Call, x: Value, kernel: Sequence[int]) -> Window:
    """Return the windows of a node, with automatic padding computed."""
    ones = (1,) * len(kernel)
    stride = tuple(call.attribute("strides", ones))
    dilation = tuple(call.attribute("dilations", ones))
    automatic = call.attribute("auto_pad", "NOTSET")
    lengths = x.shape[2:]
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for n, k, s, d in zip(lengths, kernel, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if automatic == "SAME_UPPER" else (more, less))
        return Window(tuple(kernel), stride, dilation, tuple(pads))
    written = call.attribute("pads", (0,) * 2 * len(kernel)) if automatic == "NOTSET" else (0,) * 2 * len(kernel)
    half = len(kernel)
    return Window(tuple(kernel), stride, dilation, tuple(zip(written[:half], written[half:], strict=True)))


def padded(call: Call, x: Value, place: Window) -> tuple[Value, tuple[int, ...]]:
    """Return x, padded by a separate node if the sides differ, and the padding left to the kernel."""
    if place.symmetric:
        return x, tuple(before for before, _ in place.pads)
    widths = tuple(chain.from_iterable(reversed(place.pads)))
    return operations.per_example(call.builder, x, kinds.Pad(widths=widths)), (0,) * len(place.kernel)


@rule("MaxPool")
def max_pool(call: Call) -> Value:
    """Return the maximum over windows."""
    x = operations.whole_example(call.builder, call.value())
    if call.attribute("storage_order", 0):
        call.builder.refuse("storage_order=1 has no rule")
    place = window(call, x, call.attribute("kernel_shape"))
    ceil_mode = bool(call.attribute("ceil_mode", 0))
    fits = place.symmetric and all(2 * before <= k for (before, _), k in zip(place.pads, place.kernel, strict=True))
    if not fits:
        return decompositions.window_max(call.builder, x, _windows(x.shape[2:], place, ceil_mode))
    kind = kinds.MaxPool(
        kernel=place.kernel,
        stride=place.stride,
        padding=tuple(before for before, _ in place.pads),
        dilation=place.dilation,
        ceil_mode=ceil_mode,
    )
    return operations.per_example(call.builder, x, kind)


def _windows(lengths: Sequence[int], place: Window, ceil_mode: bool) -> list[list[list[int]]]:
    """Return, for each axis, the entries of each window that are not padding."""
    axes = zip(lengths, place.kernel, place.stride, place.dilation, place.pads, strict=True)
    result = []
    for n, k, s, d, (before, after) in axes:
        room = n + before + after - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        starts = [i * s - before for i in range(count) if i * s - before < n]
        result.append([[p for p in range(start, start + d * k, d) if 0 <= p < n] for start in starts])
    return result


@rule("AveragePool")
def average_pool(call: Call) -> Value:
    """Return the mean over windows."""
    x = operations.whole_example(call.builder, call.value())
    place = window(call, x, call.attribute("kernel_shape"))
    count_pads = bool(call.attribute("count_include_pad", 0))
    if set(place.dilation) != {1}:
        call.builder.refuse("dilation has no rule")
    if not place.symmetric and not count_pads:
        call.builder.refuse("asymmetric padding that the divisor does not count has no rule")
    x, padding = padded(call, x, place)
    kind = kinds.AveragePool(
        kernel=place.kernel,
        stride=place.stride,
        padding=padding,
        ceil_mode=bool(call.attribute("ceil_mode", 0)),
        count_include_pad=count_pads,
    )
    return operations.per_example(call.builder, x, kind)


@rule("GlobalAveragePool")
def global_average_pool(call: Call) -> Value:
    """Return the mean of each channel."""
    x = operations.whole_example(call.builder, call.value())
    return operations.reduce(call.builder, x, kinds.Mean, range(2, x.rank), keep=True)


@rule("GlobalMaxPool")
def global_max_pool(call: Call) -> Value:
    """Return the maximum of each channel."""
    x = operations.whole_example(call.builder, call.value())
    return operations.reduce(call.builder, x, kinds.Max, range(2, x.rank), keep=True)
