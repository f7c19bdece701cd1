"""Sweeps from many places of a spatial node at once: each place of each example is an example of its own.

Rows that begin at one place of a convolution see a window of every node before it, and the windows of different places
are the same but for a shift, as long as they may reach beyond the borders. So vectors over nodes are cut into windows,
with zeros beyond the borders, and one sweep carries the rows of all places: lines of zeros drop what lies outside.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from epsball.certificates.box import Box
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.coefficients import Reach
from epsball.certificates.linear.relaxations import fused, inner_node
from epsball.certificates.propagation import Propagation
from epsball.graph import Graph, Node
from epsball.graph.kinds import Add, BatchNorm, Convolution, Elementwise, Input, PReLU, Subtract

Slopes = Mapping[str, Tensor]


def reaches_before(bounds: Propagation, start: Node) -> dict[str, Reach] | None:
    """Return what rows over one place of `start` see of every node back to the input, or None.

    None where a node on the way is not of a kind that keeps windows, or where they hold more than the whole nodes do.
    """
    graph, axes = bounds.graph, len(start.shape) - 1
    if axes < 1:
        return None
    reached = {start.name: Reach((1,) * axes, (0,) * axes, (1,) * axes)}
    for node in reversed(graph.nodes):
        if node.name not in reached:
            continue
        if not _keeps_windows(bounds, node):
            return None
        for source in node.inputs:
            seen = reached[node.name]
            if isinstance(node.kind, Convolution):
                seen = seen.before(node.kind, tuple(graph.parameters[node.kind.weight].shape[2:]))
            joined = seen.joined(reached.get(source))
            if joined is None:
                return None
            reached[source] = joined
    if graph.input.name not in reached:
        return None
    whole = sum(math.prod(graph[name].shape) for name in reached)
    seen = sum(graph[name].shape[0] * math.prod(reach.lengths) for name, reach in reached.items())
    return reached if seen < whole else None


def _keeps_windows(bounds: Propagation, node: Node) -> bool:
    """Return whether rows over a window of the node are rows over windows of its inputs, whatever the place."""
    kind, shapes = node.kind, [bounds.graph[name].shape for name in node.inputs]
    if isinstance(kind, Input):
        return True
    if isinstance(kind, Convolution):
        return not kind.transposed
    if not shapes or any(shape != node.shape for shape in shapes):
        return False
    if isinstance(kind, Add | Subtract):
        return not any(name in bounds.graph.constant for name in node.inputs)
    if isinstance(kind, Elementwise | PReLU):
        return len(shapes) == 1 and isinstance(bounds.relaxation(node), LinearRelaxation)
    return isinstance(kind, BatchNorm)


def largest_reach(graph: Graph, reached: Mapping[str, Reach]) -> int:
    """Return the largest number of coefficients that a row has over any node."""
    return max(graph[name].shape[0] * math.prod(reach.lengths) for name, reach in reached.items())


def chunks_of_places(wanted: Tensor, limit: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield examples (v,), places (v,) and channels (v, k) until each wanted entry is among them.

    Places come in the order of how many channels they want, since all of a chunk get as many as the first.

    Parameters
    ----------
    wanted
        Where rows are wanted, (n, channels, *spatial).
    limit
        The most rows of a chunk; at least one place is in each.
    """
    channels = wanted.flatten(2).movedim(1, 2)
    for block in torch.arange(channels.shape[2]).split(max(1, limit)):
        counts = channels[..., block].sum(dim=2)
        order = counts.flatten().argsort(descending=True, stable=True)[: int((counts > 0).sum())]
        while len(order):
            most = int(counts.flatten()[order[0]])
            now, order = order.split([few := min(len(order), max(1, limit // most)), len(order) - few])
            examples, places = now // counts.shape[1], now % counts.shape[1]
            chosen = channels[examples, places][:, block].to(torch.uint8).topk(most, dim=1).indices
            yield examples, places, block[chosen]


def of_places(
    bounds: Propagation, reached: Mapping[str, Reach], choices: Sequence[Slopes], examples: Tensor, places: Tensor
) -> Iterator[Propagation]:
    """Yield for each choice of lower slopes the bounds as rows at places (v,) of examples (v,) see them.

    Its tensors are over windows; lines and rounding are 0 beyond the borders.
    """
    cut = _Cut(bounds, reached, examples, places)
    graph, whole = bounds.graph, bounds.domain
    low, high, centre = (cut(graph.input.name, part) for part in (*whole.box, whole.centre))
    inside = {name: cut.inside(name) for name in reached}
    rounding = {name: bounds.rounding.get(name) for name in reached}
    shared = Propagation(
        graph=graph,
        parameters=bounds.parameters,
        domain=replace(whole, box=Box(low, high), centre=centre),
        arithmetic=bounds.arithmetic,
        rounding={name: None if error is None else cut(name, error) for name, error in rounding.items()},
        underflow=bounds.underflow.expand(len(bounds.domain))[examples],
        matrices=bounds.matrices,
        inside={name: mask for name, mask in inside.items() if mask is not None},
        _forms=bounds._forms,
    )
    for slopes in choices:
        relaxations, lines = {}, {}
        for name in reached:
            node = graph[name]
            if isinstance(node.kind, Input) or bounds.form(node) is not None:
                continue
            own: Any = bounds.relaxation(node)
            slope = slopes.get(name)
            relaxations[name] = cut.lines(name, own if slope is None else own._replace(lower_slope=slope))
            inner = inner_node(bounds, node)
            if inner is not None and bounds.arithmetic.own is not None:
                lines[name] = cut.lines(name, fused(bounds, node, inner, slope))
        yield replace(shared, fused=lines, _relaxations=relaxations)


class _Cut:
    """Cuts vectors over nodes into the windows of some places of some examples, with zeros beyond the borders."""

    def __init__(self, bounds: Propagation, reached: Mapping[str, Reach], examples: Tensor, places: Tensor) -> None:
        self.graph, self.reached, self.examples = bounds.graph, reached, examples
        start = next(iter(reached))
        self.counts = bounds.graph[start].shape[1:]
        self.at = torch.unravel_index(places, self.counts)

    def __call__(self, name: str, vector: Tensor) -> Tensor:
        """Return (v, ..., channels, *window) of (n or 1, ..., channels, *spatial)."""
        axes = len(self.at)
        lead = vector.ndim - 1 - axes
        views = self._windows(name, vector.expand(*vector.shape[: 1 + lead], *self.graph[name].shape[1:]))
        examples = self.examples if len(vector) > 1 else torch.zeros_like(self.examples)
        return views.movedim(tuple(range(1 + lead, 1 + lead + axes)), tuple(range(1, 1 + axes)))[(examples, *self.at)]

    def lines(self, name: str, lines: LinearRelaxation) -> LinearRelaxation:
        """Return lines over the windows."""
        return LinearRelaxation(*(self(name, part) for part in lines))

    def inside(self, name: str) -> Tensor | None:
        """Return where windows lie inside the node, (v, 1, 1, *window), or None where all of them do."""
        spatial = self.graph[name].shape[1:]
        views = self._windows(name, torch.ones(1, 1, 1, *spatial, dtype=torch.bool))
        mask = views[(slice(None), slice(None), slice(None), *self.at)].movedim(3, 0).squeeze(1)
        return None if bool(mask.all()) else mask.to(torch.float64)

    def _windows(self, name: str, vector: Tensor) -> Tensor:
        """Return (..., *places, *window), a view of the vector with zeros around it."""
        reach, spatial = self.reached[name], self.graph[name].shape[1:]
        widths = []
        for scale, start, length, count, extent in zip(*reach, self.counts, spatial, strict=True):
            stop = (count - 1) * scale + start + length
            widths.append((-min(start, 0), max(0, stop - extent), max(start, 0)))
        padding = [width for before, after, _ in reversed(widths) for width in (before, after)]
        view = functional.pad(vector, padding)
        first = view.ndim - len(spatial)
        for axis, (_, _, begin) in enumerate(widths):
            view = view.narrow(first + axis, begin, view.shape[first + axis] - begin)
        for axis, (scale, length) in enumerate(zip(reach.scales, reach.lengths, strict=True)):
            view = view.unfold(first + axis, length, scale)
            view = view.narrow(first + axis, 0, self.counts[axis])
        return view
