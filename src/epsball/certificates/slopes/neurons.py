"""Bounds of single neurons, each by a row with lower slopes of its own. A neuron is an entry of a node's value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.linear.coefficients import Coefficients, Window
from epsball.certificates.linear.refinement import neurons_to_refine
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import sweep
from epsball.certificates.linear.windows import cropped, spatial, window_at, windows_before
from epsball.certificates.propagation import Propagation, Refine
from epsball.certificates.tensors import flat
from epsball.graph import Node


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronSlopes:
    """Some neurons of one node and one example, within one window, and the slopes of the rows that bound them.

    Parameters
    ----------
    node, window
        The node and the window; None is the whole node.
    neurons
        The k neurons, by their places in the node's flattened value.
    slopes
        Lower slopes by rectifier, (1, 2 k, *part): of the rows that bound the neurons from below, then of those that
        bound them from above, over a part of the rectifier that holds all that the rows reach.
    parts
        The window of each of these parts.
    """

    node: str
    window: Window | None
    neurons: Tensor
    slopes: Mapping[str, Tensor]
    parts: Mapping[str, Window | None]

    def bounds(self, bounds: Propagation, limits: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return lower and upper bounds of the neurons, each (1, k), with slopes held to their limits."""
        k, units = len(self.neurons), self._units(bounds)
        slopes = {
            name: _spread(slope, self.parts[name], limits[name], bounds.graph[name].shape)
            for name, slope in self.slopes.items()
        }
        found = sweep(bounds, self.node, Coefficients(torch.cat([units, -units], dim=1), self.window), slopes=slopes)
        return found[:, :k], -found[:, k:]

    def upper_rows(self, bounds: Propagation) -> tuple[Coefficients, dict[str, Tensor]]:
        """Return the k rows that bound the neurons from above, over their node, and their slopes."""
        k, limits = len(self.neurons), slope_limits(bounds)
        slopes = {
            name: _spread(slope[:, k:], self.parts[name], limits[name], bounds.graph[name].shape)
            for name, slope in self.slopes.items()
        }
        return Coefficients(-self._units(bounds), self.window), slopes

    def _units(self, bounds: Propagation) -> Tensor:
        low = bounds.boxes[self.node].low
        k, shape = len(self.neurons), low.shape[1:]
        units = low.new_zeros(k, shape.numel()).scatter_(1, self.neurons.unsqueeze(1), 1.0).view(1, k, *shape)
        return cropped(units, self.window)

    def having(self, slopes: Mapping[str, Tensor]) -> "NeuronSlopes":
        """Return the same neurons with other slopes."""
        return replace(self, slopes=slopes)


def _spread(slope: Tensor, window: Window | None, limits: tuple[Tensor, Tensor], shape: tuple[int, ...]) -> Tensor:
    """Return slopes over the whole of a rectifier; where the rows do not reach they are 0."""
    low, high = (cropped(limit, window) for limit in limits)
    return Coefficients(slope.to(low.dtype).clamp(low, high), window).dense(shape)


def neuron_slopes(bounds: Propagation, room: int) -> list[NeuronSlopes]:
    """Return the neurons of one example that are worth slopes of their own, starting from the relaxations' slopes.

    They are those whose sign decides how a rectifier after them is relaxed. Nodes are taken from the output on, as long
    as all of their slopes together are at most `room` neurons.
    """
    limits = slope_limits(bounds)
    chosen: list[NeuronSlopes] = []
    for node in reversed(bounds.graph.nodes):
        wanted = _wanted(bounds, node, limits)
        if wanted is None:
            continue
        found = [with_own_slopes(bounds, node, window, neurons, limits) for window, neurons in by_window(node, wanted)]
        room -= sum(slope.numel() for part in found for slope in part.slopes.values())
        if room < 0:
            break
        chosen = [*found, *chosen]
    return chosen


def _wanted(bounds: Propagation, node: Node, limits: Mapping[str, object]) -> Tensor | None:
    """Return where a node's neurons are refined and unstable for a rectifier, flattened, or None."""
    if not any(node.name in bounds.graph[name].inputs for name in limits):
        return None
    wanted = neurons_to_refine(bounds, node)
    if wanted is None or not bool(wanted.any()):
        return None
    low, high = bounds.boxes[node.name]
    return (wanted & (low < 0) & (high > 0))[0]


def by_window(node: Node, wanted: Tensor) -> Iterator[tuple[Window | None, Tensor]]:
    """Yield windows and the wanted neurons in each."""
    if not spatial(node):
        yield None, torch.nonzero(wanted.flatten()).flatten()
        return
    channels = flat(wanted, 1)
    for place in torch.nonzero(channels.any(dim=0)).flatten().tolist():
        neurons = torch.nonzero(channels[:, place]).flatten() * channels.shape[1] + place
        yield window_at(place, node.shape[1:]), neurons


def with_own_slopes(
    bounds: Propagation, node: Node, window: Window | None, neurons: Tensor, limits: Mapping[str, object]
) -> NeuronSlopes:
    """Return neurons of one window with slopes of their own, which are at first those of the relaxations."""
    parts = {name: part for name, part in windows_before(bounds.graph, node, window).items() if name in limits}
    slopes = {}
    for name, part in parts.items():
        own = cropped(bounds.relaxation(bounds.graph[name]).lower_slope, part)
        slopes[name] = own.expand(1, 2 * len(neurons), *own.shape[2:])
    return NeuronSlopes(node=node.name, window=window, neurons=neurons, slopes=slopes, parts=parts)


def bounding(chosen: Sequence[NeuronSlopes], before: Refine) -> Refine:
    """Return a `Refine` that, after another one, bounds these neurons by their own rows where that is better."""

    def refine(bounds: Propagation, node: Node) -> Box:
        box = bounds.boxes[node.name] = before(bounds, node)
        for neurons, low, high in _found(bounds, node, chosen):
            at_low, at_high = (flat(end, 1)[:, neurons] for end in box)
            box = _with_neurons(box, neurons, torch.maximum(at_low, low), torch.minimum(at_high, high))
        return box

    return refine


def climbing(chosen: Sequence[NeuronSlopes]) -> Refine:
    """Return the same for an ascent: every row's gradient is kept, also where the bound before is better."""

    def refine(bounds: Propagation, node: Node) -> Box:
        box = Box(*(end.detach() for end in bounds.boxes[node.name]))
        for neurons, low, high in _found(bounds, node, chosen):
            at_low, at_high = (flat(end, 1)[:, neurons] for end in box)
            low = low + (at_low - low).detach().clamp(min=0)
            high = high - (high - at_high).detach().clamp(min=0)
            box = _with_neurons(box, neurons, low, high)
        return box

    return refine


def _found(bounds: Propagation, node: Node, chosen: Sequence[NeuronSlopes]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield neurons of a node and bounds of them."""
    here = [part for part in chosen if part.node == node.name]
    if not here:
        return
    limits = {name: (low.detach(), high.detach()) for name, (low, high) in slope_limits(bounds).items()}
    for part in here:
        yield part.neurons, *part.bounds(bounds, limits)


def _with_neurons(box: Box, neurons: Tensor, low: Tensor, high: Tensor) -> Box:
    """Return a box with new bounds for some of its neurons."""
    return Box(
        *(flat(end, 1).index_copy(1, neurons, new).view(end.shape) for end, new in zip(box, (low, high), strict=True))
    )
