"""The search by boxes: of the input, where it has few entries, and of single neurons, for one example."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.branching.division.boxes import Boxes, taken
from epsball.certificates.branching.division.candidates import candidates, cuttable, is_rectifier
from epsball.certificates.branching.division.lines import chord_slopes, moved_by_inputs, widest
from epsball.certificates.branching.division.pulls import Carried, Cut, Pull, ascended, carried
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.search.descent import STEPS, Descent
from epsball.certificates.branching.search.parts import Limits
from epsball.certificates.branching.tree import Division, Ending, Piece, Searched, Split, Step
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.refinement import refinement_passes, refiner
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation
from epsball.graph import Node
from epsball.graph.kinds import Elementwise, PReLU

FEW_INPUTS = 64
"""Entries of an input up to which it is cut."""

_REFRESHED = 4096
"""Rows up to which nodes are bounded anew on every part that a neuron was cut for."""

_ROOM, _FIRST, _MOST = 2**24, 8, 256
"""Numbers that the parts bounded together hold, and how many parts are at first and at most."""

_PROBED, _SHARE = 8, 0.8
"""Every so many batches the other kind of cut is tried; its gain is averaged with this share of what was known."""

_DESCENDED = 16

_RECORDED = 2**25
"""Slopes that are kept for proofs."""


class _Bounded(NamedTuple):
    """Parts with the bounds of their rows, and what these stand on."""

    boxes: Boxes
    bounds: Propagation
    value: Tensor
    slopes: dict[str, Tensor]
    pulls: dict[str, Pull]
    found: Carried


@dataclass(kw_only=True, eq=False)
class _RowTree:
    """The cuts of all rows: by number of the part cut where, and the parts below and above; and the leaves."""

    children: dict[int, tuple[Split, int, int]] = field(default_factory=dict)
    leaves: dict[int, tuple[float, Piece | None]] = field(default_factory=dict)
    parents: dict[int, tuple[int, Split, int]] = field(default_factory=dict)
    size: int = 0


class BoxSearch:
    """Branch and bound of some rows of one example over boxes.

    Every bound is proved, with all error terms, on the whole network. A part's nodes are bounded anew: by intervals
    and, where that is affordable, by rows of their own; what was cut is a constraint with a multiplier besides.

    Parameters
    ----------
    problem
        A batch of one.
    bounds
        Bounds on every node over all of the domain.
    neurons
        Whether neurons are cut, or the input alone.

    Attributes
    ----------
    ending, witness, bounded, passes
        How it ended, a point that it met, parts bounded and rows carried.
    recorded
        Whether the proofs were kept.
    """

    def __init__(self, problem: Problem, bounds: Propagation, *, neurons: bool) -> None:
        self.problem, self.limits = problem, Limits()
        self.network = Descent(bounds, problem.specification[0], Region.of(problem.domain, torch.float64))
        self.ending: Ending = "proved"
        self.witness: Tensor | None = None
        self.bounded = self.passes = 0
        self.recorded = True
        self._root = bounds
        self._inputs = len(problem.domain.centre[0].flatten()) <= FEW_INPUTS
        self._nodes = cuttable(bounds) if neurons else []
        self._refiner = refiner(problem.max_memory)
        self._refreshes = self._inputs or int(refinement_passes(bounds).sum()) <= _REFRESHED
        low, high = problem.domain.box
        self._low, self._high = low.flatten(1), high.flatten(1)
        self._tree = _RowTree()
        self._rows: list[int] = []
        self._stack: list[Boxes] = []
        self._before: dict[int, float] = {}
        self._levels = torch.zeros(0)
        self._gains = {True: math.inf if self._inputs else -math.inf, False: math.inf if self._nodes else -math.inf}
        self._batches = self._held = 0
        size = sum(math.prod(node.shape) for node in bounds.graph.nodes)
        self._most = max(1, min(_MOST, _ROOM // (8 * size)))

    def start(self, rows: Sequence[int], values: Sequence[float]) -> None:
        """Begin with the whole domain for some rows, whose bounds there are given."""
        n = len(rows)
        self._rows = list(rows)
        self._tree.size, self._before = n, dict(enumerate(values))
        self._levels = torch.full((n,), math.inf, dtype=torch.float64)
        nodes = {
            name: Box(*(end.repeat(n, *(1,) * (end.ndim - 1)) for end in self._root.boxes[name]))
            for name in self._nodes
        }
        number = torch.arange(n)
        self._stack = [
            Boxes(
                low=self._low.repeat(n, 1),
                high=self._high.repeat(n, 1),
                case=torch.zeros(n, dtype=torch.int64),
                conjunction=number,
                nodes=nodes,
                number=number,
            )
        ]

    def run(self, limits: Limits) -> None:
        """Bound and cut until every part is closed, a row has failed, or a limit is reached; it may be called again."""
        self.limits = limits
        if self.ending in ("parts", "passes", "time"):
            self.ending = "proved"
        size = min(_FIRST, self._most)
        while self._stack and self.ending == "proved":
            reached = self.limits.reached(self.bounded, self.passes)
            if reached is not None:
                self.ending = reached
                break
            boxes = taken(self._stack, size)
            self._step(boxes)
            if len(boxes) == size:
                size = min(self._most, 2 * size)

    @property
    def closed(self) -> float:
        """The share of the rows' domains that is closed: a part counts for half of the one it was cut from."""
        depths = (len(self._path(number)) for number in self._tree.leaves)
        return sum(2.0**-depth for depth in depths) / max(1, len(self._rows))

    def _lower_bounds(self) -> dict[int, tuple[float, bool]]:
        """Return by row its proved bound, and whether that is a proof by closed parts alone."""
        found = dict.fromkeys(self._rows, (math.inf, True))
        for number, (value, _) in self._tree.leaves.items():
            row = self._rows[self._origin(number)]
            found[row] = min(found[row][0], value), found[row][1]
        for number, value in self._before.items():
            row = self._rows[self._origin(number)]
            found[row] = min(found[row][0], value), False
        return found

    def result(self, found: LowerBounds) -> LowerBounds:
        """Return bounds with what was found."""
        rows, trees = found.rows.clone(), list(found.trees.get(0, ()))
        for row, (value, closed) in self._lower_bounds().items():
            if closed and value > rows[0, row] and self.recorded:
                trees.append(self._division(row))
            if not math.isinf(value):
                rows[0, row] = max(float(rows[0, row]), value)
        before = found.searched.get(0)
        searched = Searched(
            ending=self.ending,
            parts=self.bounded + (before.parts if before else 0),
            leaves=len(self._tree.leaves) + (before.leaves if before else 0),
            witness=self.witness,
            recorded=self.recorded,
        )
        passes = {0: self.passes + found.passes.get(0, 0)}
        return replace(found, rows=rows, trees={0: trees}, searched={0: searched}, passes=passes)

    def _division(self, row: int) -> Division:
        """Return the proof of a row whose parts are all closed."""
        shape, pieces, left = [], [], [self._rows.index(row)]
        while left:
            number = left.pop()
            if number in self._tree.children:
                split, below, above = self._tree.children[number]
                shape.append(split)
                left += [above, below]
            else:
                shape.append(None)
                pieces.append(self._tree.leaves[number][1])
        return Division(row=row, shape=shape, pieces=pieces)

    def _step(self, boxes: Boxes) -> None:
        """Bound some parts, close those that are proved, and cut the others."""
        found = self._bound(boxes)
        self._look(found)
        self._learn(found)
        goal = self._levels[boxes.conjunction]
        closed = found.value > self.limits.level if self.limits.gap is None else found.value >= goal
        for at, number in enumerate(_numbers(boxes)):
            if bool(closed[at]):
                del self._before[number]
                self._tree.leaves[number] = float(found.value[at]), self._piece(found, at, number)
            else:
                self._before[number] = max(self._before[number], float(found.value[at]))
        self._cut(found, ~closed)

    def _bound(self, boxes: Boxes) -> _Bounded:
        """Return parts with bounds of their rows by slopes and, where neurons were cut, multipliers of their own."""
        problem, n, root = self.problem, len(boxes), self._root
        box = Box(*(end.view(-1, *self.problem.graph.input.shape) for end in (boxes.low, boxes.high)))
        rows = problem.specification[0, [self._rows[row] for row in boxes.conjunction.tolist()]]
        every = replace(problem.domain.take(torch.zeros(n, dtype=torch.int64)), box=box)
        own = replace(problem, domain=every, specification=rows.unsqueeze(1))
        bounds = own.propagate(boxes={**root.boxes, **boxes.nodes}, refine=self._refine)
        slopes = {}
        found = carried(bounds, rows, slopes)
        self.bounded += n
        self.passes += 2 * n + (int(refinement_passes(bounds).sum()) if self._refreshes else 0)
        cuts = self._cuts(boxes)
        chords = chord_slopes(bounds)
        pulls: dict[str, Pull] = {}
        if chords:
            other = carried(bounds, rows, chords)
            slopes, found = _better(bounds, {}, found, chords, other)
            self.passes += n
        if cuts:
            climbed, pulls = ascended(bounds, rows, slopes, cuts)
            other = carried(bounds, rows, climbed, cuts, pulls)
            better = other.value > found.value
            pulls = {name: Pull(*(_kept(better, part) for part in pull)) for name, pull in pulls.items()}
            slopes, found = _better(bounds, slopes, found, climbed, other)
            self.passes += 20 * n
        return _Bounded(boxes, bounds, found.value, slopes, pulls, found)

    def _refine(self, bounds: Propagation, node: Node) -> Box:
        """Bound a node anew; where ends contradict each other no point is in the part, and any bounds hold."""
        box = bounds.boxes[node.name] = _ordered(bounds.boxes[node.name])
        return _ordered(self._refiner(bounds, node)) if self._refreshes else box

    def _cuts(self, boxes: Boxes) -> dict[str, Cut]:
        """Return the nodes of which entries were cut in any of the parts."""
        found = {}
        for name, box in boxes.nodes.items():
            low, high = self._root.boxes[name]
            cut = Cut(box, (box.low > low).to(low.dtype), (box.high < high).to(low.dtype))
            if bool(cut.low.any()) or bool(cut.high.any()):
                found[name] = cut
        return found

    def _cut(self, found: _Bounded, left: Tensor) -> None:
        """Cut the parts that are left and push the halves, the lowest bounds on top."""
        of_input = self._kind()
        other = self._chosen(found, not of_input)
        node, entry, at, possible = self._chosen(found, of_input)
        node = torch.where(possible, node, other[0])
        entry, at = torch.where(possible, entry, other[1]), torch.where(possible, at, other[2])
        stuck = left & ~possible & ~other[3]
        if bool(stuck.any()):
            self.ending = "rounding"
        order = torch.argsort(found.value, descending=True)
        order = order[(left & ~stuck)[order]]
        for number in node[order].unique().tolist():
            some = order[node[order] == number]
            name = None if number < 0 else self._nodes[number]
            halves = found.boxes.take(some).halves(entry[some], at[some], name)
            split = self.problem.graph.input.name if name is None else name
            numbers = []
            for part in some.tolist():
                cut = Split(split, int(entry[part]), float(at[part]))
                numbers += self._divide(_numbers(found.boxes)[part], cut)
            self._stack.append(replace(halves, number=torch.tensor(numbers)))

    def _divide(self, number: int, split: Split) -> tuple[int, int]:
        """Enter a cut; return the numbers of both parts."""
        below = self._tree.size
        self._tree.size += 2
        self._tree.children[number] = split, below, below + 1
        before = self._before.pop(number)
        for child, sign in ((below, -1), (below + 1, 1)):
            self._tree.parents[child] = number, split, sign
            self._before[child] = before
        return below, below + 1

    def _kind(self) -> bool:
        """Return whether the next cuts are of the input: what gained more, and now and then the other."""
        self._batches += 1
        of_input = self._gains[True] >= self._gains[False]
        return not of_input if self._batches % _PROBED == 0 else of_input

    def _learn(self, found: _Bounded) -> None:
        """Average what cuts of each kind gained."""
        for kind in (True, False):
            gains = [
                float(value) - self._before[number]
                for number, value in zip(_numbers(found.boxes), found.value, strict=True)
                if number in self._tree.parents
                and (self._tree.parents[number][1].node == self.problem.graph.input.name) == kind
            ]
            gains = [gain for gain in gains if math.isfinite(gain)]
            if gains:
                mean, old = sum(gains) / len(gains), self._gains[kind]
                self._gains[kind] = mean if math.isinf(old) else _SHARE * old + (1 - _SHARE) * mean

    def _chosen(self, found: _Bounded, of_input: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return for each part the node to cut by number (-1 is the input), the entry, where, and if there is one."""
        n = len(found.boxes)
        node, entry = (torch.full((n,), -1, dtype=torch.int64) for _ in range(2))
        score, at = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        if of_input and self._inputs:
            name = self.problem.graph.input.name
            line = found.found.met.get(name, torch.zeros_like(found.boxes.low)).flatten(1)
            rows = self.problem.specification[0, [self._rows[row] for row in found.boxes.conjunction.tolist()]]
            moved = moved_by_inputs(found.bounds, rows, line, found.boxes)
            score, entry, at = widest(found.boxes, moved, self._high - self._low)
            return node, entry, at, score >= 0
        if not of_input:
            for name, one in candidates(found.bounds, found.found.met):
                if name in self._nodes:
                    better = one.score > score
                    node = torch.where(better, self._nodes.index(name), node)
                    entry, at = torch.where(better, one.entry, entry), torch.where(better, one.at, at)
                    score = torch.where(better, one.score, score)
        return node, entry, at, score > 0

    def _look(self, found: _Bounded) -> None:
        """See what margins the network itself has in the middles of parts, and where lines are least."""
        boxes = found.boxes
        line = found.found.met.get(self.problem.graph.input.name)
        corners = boxes.low if line is None else torch.where(line.flatten(1) > 0, boxes.low, boxes.high)
        self._judge(torch.cat([corners, 0.5 * boxes.low + 0.5 * boxes.high]))
        if self._batches % _DESCENDED == 0 and self.ending == "proved":
            worst = found.value.argmin().view(1)
            row = torch.tensor([self._rows[int(boxes.conjunction[worst])]])
            self.passes += 2 * STEPS
            self._judge(self.network.descended(row, corners[worst]))

    def _judge(self, points: Tensor) -> None:
        points = self.network.region.inside(points)
        margins = self.network.margins(points)[:, self._rows]
        for at, least in enumerate(margins.amin(dim=0).tolist()):
            if self.limits.gap is not None:
                self._levels[at] = min(float(self._levels[at]), least - self.limits.gap)
            elif least <= 0 and self.witness is None:
                self.witness, self.ending = points[int(margins.amin(dim=1).argmin())], "witness"

    def _piece(self, found: _Bounded, at: int, number: int) -> Piece | None:
        """Return what a part's bound stands on, or None once too much is kept."""
        bounds, graph = found.bounds, self.problem.graph
        slopes: dict[str, tuple[Tensor, Tensor | None]] = {}
        for node in graph.nodes:
            if isinstance(node.kind, Elementwise | PReLU) and node.name not in graph.constant:
                lines: LinearRelaxation = bounds.relaxation(node)
                upper = None if is_rectifier(node) else _one(lines.upper_slope, at, node)
                slopes[node.name] = _one(lines.lower_slope, at, node), upper
        final = {name: _one(slope, at, graph[name]) for name, slope in found.slopes.items()}
        self._held += sum(len(pair[0].flatten()) for pair in slopes.values())
        self.recorded &= self._held <= _RECORDED
        if not self.recorded:
            return None
        return Piece(path=self._steps(number, found.pulls, at), slopes=slopes, final=final, refreshed=self._refreshes)

    def _path(self, number: int) -> list[tuple[Split, int]]:
        """Return the cuts on the way to a part."""
        path = []
        while number in self._tree.parents:
            number, split, sign = self._tree.parents[number]
            path.append((split, sign))
        return path[::-1]

    def _steps(self, number: int, pulls: dict[str, Pull], at: int) -> list[Step]:
        """Return the cuts with their multipliers: of cuts of one entry only the last counts."""
        steps, done = [], set()
        for split, sign in reversed(self._path(number)):
            pull, key = pulls.get(split.node), (split.node, split.entry, sign)
            multiplier = 0.0
            if pull is not None and key not in done:
                multiplier = float((pull.above if sign > 0 else pull.below)[at].flatten()[split.entry])
            done.add(key)
            steps.append(Step(split, sign, multiplier))
        return steps[::-1]

    def _origin(self, number: int) -> int:
        while number in self._tree.parents:
            number = self._tree.parents[number][0]
        return number


def _numbers(boxes: Boxes) -> list[int]:
    return [] if boxes.number is None else boxes.number.tolist()


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
