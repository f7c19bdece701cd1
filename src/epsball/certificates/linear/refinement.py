"""Intermediate bounds by backward sweeps, for only those neurons whose tighter bounds make a tighter relaxation."""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.linear.coefficients import Coefficients, Reach, Window, room_for
from epsball.certificates.linear.places import chunks_of_places, largest_reach, of_places, reaches_before
from epsball.certificates.linear.relaxations import fuse_all, slope_limits
from epsball.certificates.linear.sweep import carried_to_input, carried_to_lines
from epsball.certificates.linear.windows import largest_extent, spatial, window_at
from epsball.certificates.propagation import Propagation, Refine
from epsball.certificates.rules.maxima import Maxima
from epsball.certificates.rules.pointwise import Pointwise, Rectifier
from epsball.certificates.rules.table import RULES, rule_of
from epsball.certificates.tensors import flat
from epsball.graph import Node
from epsball.graph.kinds import Input

LowerSlopes = Literal["adaptive", "parallel", "every"]
"""The lower slopes of rectifiers that rows are tried with: those of the relaxations (each of least area), those of the
chords above (Wong and Kolter's), or both of these and the least and the largest, of which the best bound counts."""


def refiner(max_memory: int | None = None, *, lower: LowerSlopes = "adaptive") -> Refine:
    """Return a `Refine` that bounds, by backward sweeps, every neuron whose bounds a later relaxation gains from.

    Parameters
    ----------
    max_memory
        Bytes for the coefficients carried at a time, with their temporaries; at least one row is carried.
    lower
        The lower slopes to try; a sweep for each, and the best bound counts.
    """
    room = room_for(max_memory)

    def refine(bounds: Propagation, node: Node) -> Box:
        box = bounds.boxes[node.name]
        wanted = neurons_to_refine(bounds, node)
        if wanted is None or not bool(wanted.any()):
            return box
        fuse_all(bounds)
        choices = slope_choices(bounds, lower)
        low, high = (end.clone(memory_format=torch.contiguous_format) for end in box)
        reached = reaches_before(bounds, node)
        for side in (Side(-1.0, high), Side(1.0, low)):
            if reached is not None:
                _refine_places(bounds, node, side, wanted, reached, room, choices)
            for window in _windows(node, wanted) if reached is None else ():
                _refine_side(bounds, node, side, wanted, window, room, choices)
            wanted = wanted & ~_constant_after(bounds, node, Box(low, high))
        return Box(low, high)

    return refine


class Side(NamedTuple):
    """One end of a node's box and the sign of the rows that bound it: -1 for the upper end, 1 for the lower."""

    sign: float
    end: Tensor


def slope_choices(bounds: Propagation, lower: LowerSlopes) -> list[dict[str, Tensor]]:
    """Return the lower slopes to try, each by rectifier, (n, 1, *shape); elsewhere they are the relaxations' own."""
    limits = slope_limits(bounds)
    if lower == "adaptive" or not limits:
        return [{}]
    chords = {name: bounds.relaxation(bounds.graph[name]).upper_slope for name in limits}
    parallel = {name: chord.clamp(*limits[name]) for name, chord in chords.items()}
    if lower == "parallel":
        return [parallel]
    return [{}, parallel, *({name: pair[end] for name, pair in limits.items()} for end in (0, 1))]


def _refine_side(
    bounds: Propagation,
    node: Node,
    side: Side,
    wanted: Tensor,
    window: Window | None,
    room: int,
    choices: list[dict[str, Tensor]],
) -> None:
    """Improve one end, in place, for the wanted neurons in a window (everywhere if None)."""
    place = (slice(None),) if window is None else (slice(None), slice(None), *window)
    wanted, end = flat(wanted[place], 1), side.end[place]
    most = max(1, room // (8 * largest_extent(bounds.graph, node, window)))
    for block in torch.nonzero(wanted.any(dim=0)).flatten().split(most):
        shared = carried_to_lines(bounds, node.name, _picking(block, side.sign, end, window))
        for images, chosen in _chunks(wanted[:, block], most):
            tried = [
                carried_to_input(shared.take(images, chosen, {name: slope[images] for name, slope in choice.items()}))
                for choice in choices
            ]
            found = torch.stack(tried).amax(dim=0)
            neurons = block.expand(len(found), -1) if chosen is None else block[chosen]
            own = flat(end[images], 1)
            old = own.gather(1, neurons)
            better = side.sign * torch.maximum(side.sign * old, found)
            kept = torch.where(wanted[images].gather(1, neurons), better, old)
            end[images] = own.scatter(1, neurons, kept).view(end[images].shape)


def _refine_places(
    bounds: Propagation,
    node: Node,
    side: Side,
    wanted: Tensor,
    reached: Mapping[str, Reach],
    room: int,
    choices: list[dict[str, Tensor]],
) -> None:
    """Improve one end, in place, for the wanted neurons of a spatial node, many places at once."""
    most = max(1, room // (8 * largest_reach(bounds.graph, reached)))
    count, spatial_axes = node.shape[0], (1,) * (len(node.shape) - 1)
    units = side.sign * torch.eye(count, dtype=side.end.dtype).view(1, count, count, *spatial_axes)
    end, asked = side.end.view(*side.end.shape[:2], -1), wanted.flatten(2)
    for examples, places, channels in chunks_of_places(wanted, most):
        at = examples.unsqueeze(1), channels, places.unsqueeze(1)
        found = []
        for part in of_places(bounds, reached, choices, examples, places):
            shared = carried_to_lines(part, node.name, Coefficients(units, reached[node.name]))
            found.append(carried_to_input(shared.take(slice(0, len(examples)), channels, {})))
        old = end[at]
        better = side.sign * torch.maximum(side.sign * old, torch.stack(found).amax(dim=0))
        end[at] = torch.where(asked[at], better, old)


def _picking(neurons: Tensor, sign: float, like: Tensor, window: Window | None) -> Coefficients:
    """Return rows that pick neurons of a window, times a sign; all examples share them."""
    shape = like.shape[1:]
    units = like.new_zeros(len(neurons), math.prod(shape)).scatter_(1, neurons.unsqueeze(1), sign)
    return Coefficients(units.view(1, -1, *shape), window)


def _chunks(wanted: Tensor, limit: int) -> Iterator[tuple[slice, Tensor | None]]:
    """Yield examples and the numbers of their wanted neurons, (n, k), or None for all: `limit` at most, where n > 1.

    Each example of a chunk gets as many as the one that needs most; some of them are not wanted.
    """
    counts = wanted.sum(dim=1).tolist()
    start = 0
    while start < len(counts):
        most, stop = counts[start], start + 1
        while stop < len(counts) and max(most, counts[stop]) * (stop + 1 - start) <= limit:
            most = max(most, counts[stop])
            stop += 1
        if most == wanted.shape[1]:
            yield slice(start, stop), None
        elif most > 0:
            yield slice(start, stop), wanted[start:stop].to(torch.uint8).topk(most, dim=1).indices
        start = stop


def neurons_to_refine(bounds: Propagation, node: Node) -> Tensor | None:
    """Return where tighter bounds of a node make some relaxation after it tighter, or None if nowhere.

    Also None where the interval is already the best bound, and where lines could add little: behind a function of one
    variable or a maximum, whose interval stands on bounds already refined.
    """
    graph = bounds.graph
    if isinstance(node.kind, Input) or node.name in graph.constant or exact_interval(bounds, node):
        return None
    if bounds.form(node) is None and isinstance(RULES.get(type(node.kind)), Pointwise | Rectifier | Maxima):
        return None
    wanted = None
    for consumer in graph.nodes:
        if node.name not in consumer.inputs or bounds.form(consumer) is not None:
            continue
        others = [name for name in consumer.inputs if name != node.name]
        if others and graph.constant.issuperset(others):
            continue
        boxes = [bounds.boxes.get(name, bounds.boxes[node.name]) for name in consumer.inputs]
        for name, unstable in zip(
            consumer.inputs, rule_of(consumer).unstable(bounds.context(consumer), boxes), strict=True
        ):
            if name == node.name:
                wanted = unstable if wanted is None else wanted | unstable
    return wanted


def neurons_per_node(bounds: Propagation) -> list[Tensor]:
    """Return for each node that is refined how many neurons of it are, (n,)."""
    wanted = (neurons_to_refine(bounds, node) for node in bounds.graph.nodes)
    return [flat(neurons, 1).sum(dim=1) for neurons in wanted if neurons is not None]


def refinement_passes(bounds: Propagation) -> Tensor:
    """Return the passes of `refiner`, given interval bounds, (n,): two for each neuron, a row for each end."""
    total = torch.zeros(len(bounds.domain), dtype=torch.int64)
    return sum((2 * count for count in neurons_per_node(bounds)), start=total)


def _constant_after(bounds: Propagation, node: Node, box: Box) -> Tensor:
    """Return where everything after a node is constant on its box, so that a smaller box changes nothing."""
    constant = torch.ones_like(box.low, dtype=torch.bool)
    for consumer in bounds.graph.nodes:
        if node.name in consumer.inputs:
            rule = RULES.get(type(consumer.kind))
            if not isinstance(rule, Pointwise):
                return torch.zeros_like(constant)
            after = rule.interval(bounds.context(consumer), [box])
            constant &= after.low == after.high
    return constant


def exact_interval(bounds: Propagation, node: Node) -> bool:
    """Return whether the node's interval is the best bound: over a box, after one affine step that mixes entries."""
    return bounds.domain.norm == "linf" and _mixing(bounds, node) <= 1


def _mixing(bounds: Propagation, node: Node) -> float:
    """Return how many steps mix entries on the way to a node; infinite where a step is not affine."""
    if isinstance(node.kind, Input) or node.name in bounds.graph.constant:
        return 0.0
    form = bounds.form(node)
    if form is None:
        return math.inf
    before = max(_mixing(bounds, bounds.graph[name]) for name in bounds.sources(node))
    return before if form.pointwise or (form.exact and len(node.inputs) == 1) else before + 1


def _windows(node: Node, wanted: Tensor) -> Iterator[Window | None]:
    """Yield the places of a spatial node where any neuron is wanted; for other nodes None, the whole node at once."""
    if spatial(node):
        for place in torch.nonzero(wanted.flatten(2).any(dim=1).any(dim=0)).flatten().tolist():
            yield window_at(place, node.shape[1:])
    elif bool(wanted.any()):
        yield None
