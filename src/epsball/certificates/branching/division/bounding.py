"""`Bounding`: rows on parts of one example's domain, every node bounded anew, with all error terms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.branching.division.boxes import Boxes
from epsball.certificates.branching.division.candidates import is_rectifier
from epsball.certificates.branching.division.lines import chord_slopes
from epsball.certificates.branching.division.pulls import STEPS, Carried, Cut, Pull, ascended, carried
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.refinement import refinement_passes, refiner
from epsball.certificates.problem import Problem
from epsball.certificates.propagation import Propagation
from epsball.graph import Node
from epsball.graph.kinds import Elementwise, PReLU


class Bounded(NamedTuple):
    """Parts, bounds on their nodes and of their rows, and what these stand on.

    Parameters
    ----------
    boxes, bounds
        The parts, and bounds on every node.
    rows
        The row of each, (n, classes).
    slopes, pulls
        Lower slopes of rectifiers, where they are not the relaxations' own, and multipliers of cuts.
    found
        The bounds, and the rows' coefficients on the way.
    """

    boxes: Boxes
    bounds: Propagation
    rows: Tensor
    slopes: Mapping[str, Tensor]
    pulls: Mapping[str, Pull]
    found: Carried

    def lines(self, at: int) -> tuple[dict[str, tuple[Tensor, Tensor | None]], dict[str, Tensor]]:
        """Return the slopes that one part's bound stands on: of all lines, and those below for the row itself."""
        graph, slopes = self.bounds.graph, {}
        for node in graph.nodes:
            if isinstance(node.kind, Elementwise | PReLU) and node.name not in graph.constant:
                lines: LinearRelaxation = self.bounds.relaxation(node)
                upper = None if is_rectifier(node) else _one(lines.upper_slope, at, node)
                slopes[node.name] = _one(lines.lower_slope, at, node), upper
        return slopes, {name: _one(slope, at, graph[name]) for name, slope in self.slopes.items()}


class Bounding:
    """How rows of one example are bounded on parts.

    Parameters
    ----------
    problem, bounds
        A batch of one, and bounds on every node over all of its domain.
    refreshes
        Whether nodes are bounded by rows of their own on a part, or by intervals alone.

    Attributes
    ----------
    passes
        Rows carried.
    """

    def __init__(self, problem: Problem, bounds: Propagation, *, refreshes: bool) -> None:
        self._problem, self._root, self.refreshes = problem, bounds, refreshes
        self._refiner = refiner(problem.max_memory)
        self.passes = 0

    def __call__(self, boxes: Boxes, numbers: list[int]) -> Bounded:
        """Bound a row, by its number, on each part, by slopes and, where neurons were cut, multipliers of its own."""
        problem, n = self._problem, len(boxes)
        box = Box(*(end.view(-1, *problem.graph.input.shape) for end in (boxes.low, boxes.high)))
        rows = problem.specification[0, numbers]
        every = replace(problem.domain.take(torch.zeros(n, dtype=torch.int64)), box=box)
        own = replace(problem, domain=every, specification=rows.unsqueeze(1))
        bounds = own.propagate(boxes={**self._root.boxes, **boxes.nodes}, refine=self._refine)
        slopes: dict[str, Tensor] = {}
        found, pulls, chords = carried(bounds, rows, slopes), dict[str, Pull](), chord_slopes(bounds)
        self.passes += 2 * n + (int(refinement_passes(bounds).sum()) if self.refreshes else 0)
        if chords:
            slopes, found = _better(bounds, slopes, found, chords, carried(bounds, rows, chords))
            self.passes += n
        cuts = self._cuts(boxes)
        if cuts:
            climbed, pulls = ascended(bounds, rows, slopes, cuts)
            other = carried(bounds, rows, climbed, cuts, pulls)
            better = other.value > found.value
            pulls = {name: Pull(*(_kept(better, part) for part in pull)) for name, pull in pulls.items()}
            slopes, found = _better(bounds, slopes, found, climbed, other)
            self.passes += 2 * (STEPS + 2) * n
        return Bounded(boxes, bounds, rows, slopes, pulls, found)

    def _refine(self, bounds: Propagation, node: Node) -> Box:
        """Bound a node anew; where ends contradict each other no point is in the part, and any bounds hold."""
        box = bounds.boxes[node.name] = _ordered(bounds.boxes[node.name])
        return _ordered(self._refiner(bounds, node)) if self.refreshes else box

    def _cuts(self, boxes: Boxes) -> dict[str, Cut]:
        """Return the nodes of which entries were cut in any of the parts."""
        found = {}
        for name, box in boxes.nodes.items():
            low, high = self._root.boxes[name]
            cut = Cut(box, (box.low > low).to(low.dtype), (box.high < high).to(low.dtype))
            if bool(cut.low.any()) or bool(cut.high.any()):
                found[name] = cut
        return found


def _ordered(box: Box) -> Box:
    return Box(box.low, torch.maximum(box.low, box.high))


def _one(slope: Tensor, at: int, node: Node) -> Tensor:
    """Return one example's slopes of a node, (n or 1, 1, *shape), in float32: files are half as large."""
    return slope[at if len(slope) > 1 else 0, 0].expand(node.shape).detach().float()


def _kept(better: Tensor, part: Tensor) -> Tensor:
    return torch.where(better.view(-1, *(1,) * (part.ndim - 1)), part, 0.0)


def _better(
    bounds: Propagation, slopes: Mapping[str, Tensor], found: Carried, others: Mapping[str, Tensor], other: Carried
) -> tuple[dict[str, Tensor], Carried]:
    """Return the slopes of the better bound of each part, and it; the relaxations' own slopes stand for none."""
    better = other.value > found.value
    chosen = {}
    for name, slope in others.items():
        old = slopes.get(name, bounds.relaxation(bounds.graph[name]).lower_slope)
        chosen[name] = torch.where(better.view(-1, *(1,) * (slope.ndim - 1)), slope, old)
    met = {
        name: torch.where(better.view(-1, *(1,) * (part.ndim - 1)), part, found.met.get(name, part))
        for name, part in other.met.items()
    }
    return chosen, Carried(torch.maximum(other.value, found.value), met)
