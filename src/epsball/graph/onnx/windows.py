"""Kernel, stride, padding and dilation of convolutions and pools."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch

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


def window(call: Call, x: Value, kernel: Sequence[int], *, pool: bool = False) -> Window:
    """Return the windows of a node, with automatic padding computed.

    For pools it is computed as onnxruntime does: dilation does not count, and windows that step over entries make it
    negative. The standard's formula would give another shape.
    """
    ones = (1,) * len(kernel)
    stride = tuple(call.attribute("strides", ones))
    dilation = tuple(call.attribute("dilations", ones))
    automatic = call.attribute("auto_pad", "NOTSET")
    lengths = x.shape[2:]
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for n, k, s, d in zip(lengths, kernel, stride, dilation, strict=True):
            total = (-(-n // s) - 1) * s + (k if pool else d * (k - 1) + 1) - n
            total = total if pool else max(total, 0)
            before = int((total if automatic == "SAME_UPPER" else total + 1) / 2)
            pads.append((before, total - before))
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
    x, place = _pool(call, x)
    ceil_mode = bool(call.attribute("ceil_mode", 0))
    fits = place.symmetric and all(2 * before <= k for (before, _), k in zip(place.pads, place.kernel, strict=True))
    if not fits:
        starts = _starts(x.shape[2:], place, ceil_mode)
        return decompositions.window_max(call.builder, x, _entries(call, x.shape[2:], place, starts))
    kind = kinds.MaxPool(
        kernel=place.kernel,
        stride=place.stride,
        padding=tuple(before for before, _ in place.pads),
        dilation=place.dilation,
        ceil_mode=ceil_mode,
    )
    return operations.per_example(call.builder, x, kind)


def _pool(call: Call, x: Value) -> tuple[Value, Window]:
    """Return what a pool's windows lie in, and the windows.

    Negative padding before cuts entries off; negative padding after only makes the windows fewer.
    """
    place = window(call, x, call.attribute("kernel_shape"), pool=True)
    for axis, (before, _) in enumerate(place.pads, start=2):
        x = operations.take(call.builder, x, axis, max(-before, 0), x.shape[axis])
    return x, replace(place, pads=tuple((max(before, 0), after) for before, after in place.pads))


def _starts(lengths: Sequence[int], place: Window, ceil_mode: bool) -> list[list[int]]:
    """Return, for each axis, where windows start; none starts behind the last entry."""
    axes = zip(lengths, place.kernel, place.stride, place.dilation, place.pads, strict=True)
    result = []
    for n, k, s, d, (before, after) in axes:
        room = n + before + after - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        result.append([i * s - before for i in range(count) if i * s - before < n])
    return result


def _entries(
    call: Call, lengths: Sequence[int], place: Window, starts: Sequence[Sequence[int]]
) -> list[list[list[int]]]:
    """Return, for each axis, the entries of each window that are not padding."""
    axes = zip(lengths, place.kernel, place.dilation, starts, strict=True)
    result = [[[p for p in range(start, start + d * k, d) if 0 <= p < n] for start in along] for n, k, d, along in axes]
    if not all(along and all(along) for along in result):
        call.builder.refuse("a window holds padding only, or there is none")
    return result


@rule("AveragePool")
def average_pool(call: Call) -> Value:
    """Return the mean over windows."""
    x, place = _pool(call, operations.whole_example(call.builder, call.value()))
    count_pads, ceil_mode = bool(call.attribute("count_include_pad", 0)), bool(call.attribute("ceil_mode", 0))
    small = all(2 * before <= k for (before, _), k in zip(place.pads, place.kernel, strict=True))
    plain = small if place.symmetric else count_pads and all(after >= 0 for _, after in place.pads)
    if set(place.dilation) != {1} or not plain:
        return _mean_of_sum(call, x, place, ceil_mode, count_pads)
    x, padding = padded(call, x, place)
    kind = kinds.AveragePool(
        kernel=place.kernel,
        stride=place.stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_pads,
    )
    return operations.per_example(call.builder, x, kind)


def _mean_of_sum(call: Call, x: Value, place: Window, ceil_mode: bool, count_pads: bool) -> Value:
    """Return the mean over windows as a convolution with ones, divided by how many entries count in each window."""
    builder, lengths = call.builder, x.shape[2:]
    builder.rewrite()
    starts = _starts(lengths, place, ceil_mode)
    entries = _entries(call, lengths, place, starts)
    counts, widths = torch.ones(()), []
    axes = zip(lengths, place.kernel, place.dilation, place.pads, starts, entries, strict=True)
    for n, k, d, (before, after), along, inside in axes:
        counted = [sum(p < n + after for p in range(start, start + d * k, d)) for start in along]
        counts = counts.unsqueeze(-1) * torch.tensor(counted if count_pads else [len(window) for window in inside])
        widths.append((before, max(along[-1] + d * (k - 1) + 1 - n, 0)))
    wide = operations.per_example(builder, x, kinds.Pad(widths=tuple(chain.from_iterable(reversed(widths)))))
    kind = kinds.Convolution(
        weight=builder.named(torch.ones(x.shape[1], 1, *place.kernel)),
        bias=None,
        stride=place.stride,
        padding=(0,) * len(lengths),
        dilation=place.dilation,
        groups=x.shape[1],
    )
    return operations.divide(builder, operations.per_example(builder, wide, kind), builder.number(counts))


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


@rule("GlobalLpPool")
def global_lp_pool(call: Call) -> Value:
    """Return the norm of each channel."""
    x = operations.whole_example(call.builder, call.value())
    call.builder.rewrite()
    return decompositions.norm(call.builder, x, call.attribute("p", 2), range(2, x.rank), keep=True)
