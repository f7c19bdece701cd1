"""Bounds of every unstable neuron by a row with slopes of its own, node by node, ascended on the reduced network."""

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.branching.kinks import is_bent
from epsball.certificates.branching.relaxation.dual import Dual
from epsball.certificates.branching.relaxation.reduced import Functions, Layer, Reduced
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.relaxation.subproblems import Schedule
from epsball.certificates.linear.coefficients import Window
from epsball.certificates.linear.refinement import neurons_to_refine, refiner
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.windows import cropped
from epsball.certificates.problem import Problem
from epsball.certificates.propagation import Propagation
from epsball.certificates.slopes.neurons import NeuronSlopes, bounding, by_window, with_own_slopes
from epsball.certificates.tensors import flat
from epsball.graph import Node

SCHEDULE = Schedule(20, 0.25, decay=0.95)
"""The ascent of neurons' own slopes."""

LEVELS = 256
"""Slopes are rounded to this many levels: files of them are an eighth as large, and no bound is measurably worse."""

_ROWS = 256
"""Rows that ascend together."""


class Tightened:
    """Bounds of one example with every unstable neuron tightened, and what they stand on.

    Parameters
    ----------
    problem, deadline
        A batch of one, and the time on the process's clock after which no more neurons are tightened.

    Attributes
    ----------
    bounds, reduced
        Bounds on every node, and the reduced network by them.
    neurons
        The slopes that prove them.
    passes
        Rows carried by the ascents.
    """

    def __init__(self, problem: Problem, deadline: float | None = None) -> None:
        self._deadline = deadline
        self.neurons: list[NeuronSlopes] = []
        self.passes = 0
        self._before = refiner(problem.max_memory, lower="every")
        self._known: dict[str, tuple[dict[int, int], Functions]] = {}
        self._upper: dict[str, dict[int, Tensor]] = {}
        self._reduced: Reduced | None = None
        self.bounds = problem.propagate(refine=self._refine)

    @property
    def reduced(self) -> Reduced:
        """The reduced network."""
        if self._reduced is None:
            self._reduced = Reduced(bounds=self.bounds)
        return self._reduced

    def upper_slopes(self, layer: Layer) -> Tensor | None:
        """Return the slopes that bound a layer's neurons from above, (m, m before), or None where they have none."""
        rows = self._upper.get(self.bounds.graph[layer.node].inputs[0], {})
        if not all(place in rows for place in layer.places.tolist()):
            return None
        return torch.stack([rows[place] for place in layer.places.tolist()])

    def _refine(self, bounds: Propagation, node: Node) -> Box:
        if self._reduced is None:
            self._reduced = Reduced(bounds=bounds)
        box = bounds.boxes[node.name] = self._before(bounds, node)
        wanted = neurons_to_refine(bounds, node)
        if wanted is not None and bool(wanted.any()) and self._reduced.layers and slope_limits(bounds):
            found = list(self._ascended(bounds, node, wanted[0]))
            self.neurons += found
            box = bounds.boxes[node.name] = bounding(found, lambda bounds, node: bounds.boxes[node.name])(bounds, node)
        if is_bent(node):
            self._reduced.include(node, *self._known.get(node.inputs[0], (None, None)))
        return box

    def _ascended(self, bounds: Propagation, node: Node, wanted: Tensor) -> Iterator[NeuronSlopes]:
        """Yield the wanted neurons of a node with their slopes."""
        reduced, limits = self.reduced, slope_limits(bounds)
        windows = list(by_window(node, wanted))
        places = torch.cat([neurons for _, neurons in windows])
        functions = reduced.entries(node.name, places)
        self._known[node.name] = {place: at for at, place in enumerate(places.tolist())}, functions
        region, start = Region.of(bounds.domain, torch.float32), 0
        for group in _groups(windows):
            if self._deadline is not None and time.process_time() > self._deadline:
                return
            count = sum(len(neurons) for _, neurons in group)
            dual = Dual(reduced.layers, both(functions.take(torch.arange(start, start + count))), region, torch.float32)
            best, _ = dual.ascend(dual.root(torch.arange(2 * count)), SCHEDULE)
            self.passes += dual.passes
            start, done = start + count, 0
            for window, neurons in group:
                part = with_own_slopes(bounds, node, window, neurons, limits)
                rows = torch.arange(done, done + len(neurons))
                chosen = rounded(best.slopes[torch.cat([rows, count + rows])])
                self._upper.setdefault(node.name, {}).update(zip(neurons.tolist(), chosen[len(neurons) :], strict=True))
                yield part.having(self._spread(part, dual, chosen, bounds))
                done += len(neurons)

    def _spread(self, part: NeuronSlopes, dual: Dual, chosen: Tensor, bounds: Propagation) -> dict[str, Tensor]:
        """Return slopes (1, 2 k, *part) by rectifier, given those of the unstable ones (2 k, m)."""
        slopes = {}
        for name, window in part.parts.items():
            own = bounds.relaxation(bounds.graph[name]).lower_slope
            whole = flat(own.expand(1, len(chosen), *own.shape[2:]), 2).clone()
            for layer, at in zip(self.reduced.layers, dual.slices, strict=True):
                if layer.node == name:
                    whole[0, :, layer.places] = 1 - layer.weights + layer.weights * chosen[:, at]
            slopes[name] = cropped(whole.view(1, len(chosen), *own.shape[2:]), window)
        return slopes


def rounded(slopes: Tensor) -> Tensor:
    """Return slopes between 0 and 1 rounded to `LEVELS` levels, in float64."""
    return slopes.double().mul(LEVELS).round() / LEVELS


def both(functions: Functions) -> Functions:
    """Return functions and their negatives."""
    return Functions(
        torch.cat([functions.over_input, -functions.over_input]),
        tuple(torch.cat([part, -part]) for part in functions.over_layers),
        torch.cat([functions.constant, -functions.constant]),
    )


def _groups(
    windows: Sequence[tuple[Window | None, Tensor]],
) -> Iterator[list[tuple[Window | None, Tensor]]]:
    """Yield windows whose neurons ascend together."""
    group: list[tuple[Window | None, Tensor]] = []
    for window, neurons in windows:
        for some in neurons.split(_ROWS // 2):
            if group and 2 * (len(some) + sum(len(one) for _, one in group)) > _ROWS:
                yield group
                group = []
            group.append((window, some))
    if group:
        yield group
