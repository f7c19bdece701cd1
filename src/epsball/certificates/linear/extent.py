"""How many coefficients a row spreads over on its way to the input."""

import math

from epsball.certificates.linear.rows import Window
from epsball.graph import Graph, Node
from epsball.graph.kinds import BatchNorm, Convolution, Elementwise, Linear, PReLU

_KEEPS = (Elementwise, PReLU, BatchNorm)


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
    if isinstance(kind, _KEEPS):
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
