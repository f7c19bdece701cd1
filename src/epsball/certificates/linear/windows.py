"""Windows of spatial axes: the places of a node, and what lies before a window of it."""

import math
from collections.abc import Iterator

from torch import Tensor

from epsball.certificates.linear.coefficients import Window
from epsball.graph import Graph, Node
from epsball.graph.kinds import Add, BatchNorm, Convolution, Elementwise, Linear, PReLU, Subtract

_KEEPS = (Elementwise, PReLU, BatchNorm, Add, Subtract)


def spatial(node: Node) -> bool:
    """Return whether rows over single places of a node stay in windows on their way back."""
    return (
        isinstance(node.kind, Convolution | BatchNorm)
        and len(node.shape) > 1
        and not getattr(node.kind, "transposed", False)
    )


def window_at(place: int, lengths: tuple[int, ...]) -> Window:
    """Return the window of one place, given by its number in the order of memory."""
    window = []
    for length in reversed(lengths):
        place, index = divmod(place, length)
        window.append(slice(index, index + 1))
    return tuple(reversed(window))


def cropped(vector: Tensor, window: Window | None) -> Tensor:
    """Return what of (..., channels, *spatial) lies in a window."""
    return vector if window is None else vector[(..., *window)]


def windows_before(graph: Graph, start: Node, window: Window | None) -> dict[str, Window | None]:
    """Return for every node on the way from a window of `start` back to the input a window that holds all of it.

    None is the whole node.
    """
    reached: dict[str, Window | None] = {start.name: window}
    for node in reversed(graph.nodes):
        if node.name not in reached:
            continue
        for source, before in _windows_of_inputs(graph, node, reached[node.name]):
            reached[source] = before if reached.get(source, before) == before else None
    return reached


def _windows_of_inputs(graph: Graph, node: Node, window: Window | None) -> Iterator[tuple[str, Window | None]]:
    for source in node.inputs:
        shape = graph[source].shape
        if window is not None and isinstance(node.kind, _KEEPS) and shape == node.shape:
            yield source, window
        elif window is not None and isinstance(node.kind, Convolution) and not node.kind.transposed:
            yield source, _receptive(window, node.kind, graph.parameters[node.kind.weight].shape[2:], shape[1:])
        else:
            yield source, None


def _receptive(window: Window, kind: Convolution, kernel: tuple[int, ...], lengths: tuple[int, ...]) -> Window:
    """Return the places of a convolution's input that a window of its output takes."""
    starts = [
        part.start * stride - padding for part, stride, padding in zip(window, kind.stride, kind.padding, strict=True)
    ]
    reaches = [
        (part.stop - 1 - part.start) * stride + dilation * (size - 1) + 1
        for part, stride, dilation, size in zip(window, kind.stride, kind.dilation, kernel, strict=True)
    ]
    ends = [min(length, start + reach) for start, reach, length in zip(starts, reaches, lengths, strict=True)]
    return tuple(slice(max(0, start), max(0, start, end)) for start, end in zip(starts, ends, strict=True))


_KEEPS_LENGTHS = (Elementwise, PReLU, BatchNorm)


def largest_extent(graph: Graph, start: Node, window: Window | None) -> int:
    """Return the largest number of coefficients a row from a window of `start` has over any node before it."""
    lengths = None if window is None else tuple(part.stop - part.start for part in window)
    reached: dict[str, tuple[int, ...] | None] = {start.name: lengths}
    largest = 1
    for node in reversed(graph.nodes):
        if node.name not in reached:
            continue
        lengths = reached[node.name]
        largest = max(largest, math.prod(node.shape) if lengths is None else node.shape[0] * math.prod(lengths))
        for source in node.inputs:
            shape = graph[source].shape
            reached[source] = _joined(reached.get(source, ()), _before(graph, node, shape, lengths), shape)
    return largest


def _before(
    graph: Graph, node: Node, shape: tuple[int, ...], lengths: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """Return the lengths of the window over an input, or None where it is the whole of it."""
    kind = node.kind
    if lengths is None or isinstance(kind, Linear):
        return None
    if isinstance(kind, _KEEPS_LENGTHS):
        return lengths
    if isinstance(kind, Convolution) and not kind.transposed:
        kernel = graph.parameters[kind.weight].shape[2:]
        return tuple(
            min(whole, (length - 1) * stride + (size - 1) * dilation + 1)
            for whole, length, stride, size, dilation in zip(
                shape[1:], lengths, kind.stride, kernel, kind.dilation, strict=True
            )
        )
    return None


def _joined(
    one: tuple[int, ...] | None, other: tuple[int, ...] | None, shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Return the lengths of a window for the sum of two rows: the whole node unless one of them is empty."""
    if one == () and shape:
        return other
    return one if one == other else None
