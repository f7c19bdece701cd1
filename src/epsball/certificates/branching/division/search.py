"""The search by boxes: of the input, where it has few entries, and of single neurons, for one example."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.branching.division.bounding import Bounded, Bounding
from epsball.certificates.branching.division.boxes import Boxes, taken
from epsball.certificates.branching.division.candidates import candidates, cuttable
from epsball.certificates.branching.division.clipping import BEYOND, without_refuted
from epsball.certificates.branching.division.cut_tree import CutTree
from epsball.certificates.branching.division.lines import moved_by_inputs, widest
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.search.descent import STEPS, Descent
from epsball.certificates.branching.search.parts import Limits
from epsball.certificates.branching.tree import Ending, Piece, Searched, Split
from epsball.certificates.linear.refinement import refinement_passes
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation
from epsball.certificates.tensors import flat

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

_FLOOR = 2.0**-40
"""Share of the rows' bounds at the root that a part shows at least, so that a checker's other error terms have room."""


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
    ending, witness, bounded
        How it ended, a point that it met, and parts bounded.
    """

    def __init__(self, problem: Problem, bounds: Propagation, *, neurons: bool) -> None:
        self.problem, self.limits = problem, Limits()
        self.network = Descent(bounds, problem.specification[0], Region.of(problem.domain, torch.float64))
        self.ending: Ending = "proved"
        self.witness: Tensor | None = None
        self.bounded = self._looked = 0
        self._root = bounds
        self._inputs = len(problem.domain.centre[0].flatten()) <= FEW_INPUTS
        self._nodes = cuttable(bounds) if neurons else []
        refreshes = self._inputs or int(refinement_passes(bounds).sum()) <= _REFRESHED
        self._bounding = Bounding(problem, bounds, refreshes=refreshes)
        low, high = problem.domain.box
        self._low, self._high = flat(low, 1), flat(high, 1)
        self._tree = CutTree(roots=0)
        self._rows: list[int] = []
        self._stack: list[Boxes] = []
        self._floor = self._beyond = 0.0
        self._clips = self._inputs and problem.domain.norm == "linf"
        self._levels = torch.zeros(0)
        self._gains = {True: math.inf if self._inputs else -math.inf, False: math.inf if self._nodes else -math.inf}
        self._batches = self._held = 0
        size = sum(math.prod(node.shape) for node in bounds.graph.nodes)
        self._most = max(1, min(_MOST, _ROOM // (8 * size)))

    def start(self, rows: Sequence[int], values: Sequence[float]) -> None:
        """Begin with the whole domain for some rows, whose bounds there are given."""
        n = len(rows)
        self._rows = list(rows)
        self._tree = CutTree(roots=n, open=dict(enumerate(values)))
        self._floor, self._beyond = (share * max(map(abs, values)) for share in (_FLOOR, BEYOND))
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
        """The share of the rows' domains that is closed."""
        return self._tree.closed

    @property
    def passes(self) -> int:
        """The rows carried."""
        return self._bounding.passes + self._looked

    def result(self, found: LowerBounds) -> LowerBounds:
        """Return bounds with what was found."""
        rows, trees = found.rows.clone(), list(found.trees.get(0, ()))
        recorded = True
        for root, (row, (value, closed)) in enumerate(zip(self._rows, self._tree.bounds(), strict=True)):
            if closed and value > rows[0, row]:
                tree = self._tree.division(root, row)
                recorded &= tree is not None
                trees += [] if tree is None else [tree]
            if math.isfinite(value):
                rows[0, row] = max(float(rows[0, row]), value)
        before = found.searched.get(0)
        searched = Searched(
            ending=self.ending,
            parts=self.bounded + (before.parts if before else 0),
            leaves=len(self._tree.leaves) + (before.leaves if before else 0),
            witness=self.witness,
            recorded=recorded,
        )
        passes = {0: self.passes + found.passes.get(0, 0)}
        return replace(found, rows=rows, trees={0: trees}, searched={0: searched}, passes=passes)

    def _step(self, boxes: Boxes) -> None:
        """Bound some parts, close those that are proved, clip the others and cut what is left of them."""
        found = self._bounding(boxes, [self._rows[row] for row in boxes.conjunction.tolist()])
        self.bounded += len(boxes)
        value = found.found.value
        self._look(found)
        self._learn(found)
        goal = self._levels[boxes.conjunction]
        closed = value > self._floor if self.limits.gap is None else value >= goal
        for at, number in enumerate(_numbers(boxes)):
            if bool(closed[at]):
                del self._tree.open[number]
                self._tree.leaves[number] = float(value[at]), self._piece(found, at, number)
            else:
                self._tree.open[number] = max(self._tree.open[number], float(value[at]))
        if self._clips and self.limits.gap is None:
            found = without_refuted(found, ~closed, self._tree, self._beyond, self._piece)
        self._cut(found, ~closed)

    def _cut(self, found: Bounded, left: Tensor) -> None:
        """Cut the parts that are left and push the halves, the lowest bounds on top."""
        of_input = self._kind()
        other = self._chosen(found, not of_input)
        node, entry, at, possible = self._chosen(found, of_input)
        node = torch.where(possible, node, other[0])
        entry, at = torch.where(possible, entry, other[1]), torch.where(possible, at, other[2])
        stuck = left & ~possible & ~other[3]
        if bool(stuck.any()):
            self.ending = "rounding"
        order = torch.argsort(found.found.value, descending=True)
        order = order[(left & ~stuck)[order]]
        for number in node[order].unique().tolist():
            some = order[node[order] == number]
            name = None if number < 0 else self._nodes[number]
            halves = found.boxes.take(some).halves(entry[some], at[some], name)
            split = self.problem.graph.input.name if name is None else name
            numbers = []
            for part in some.tolist():
                cut = Split(split, int(entry[part]), float(at[part]))
                numbers += self._tree.divide(_numbers(found.boxes)[part], cut)
            self._stack.append(replace(halves, number=torch.tensor(numbers)))

    def _kind(self) -> bool:
        """Return whether the next cuts are of the input: what gained more, and now and then the other."""
        self._batches += 1
        of_input = self._gains[True] >= self._gains[False]
        return not of_input if self._batches % _PROBED == 0 else of_input

    def _learn(self, found: Bounded) -> None:
        """Average what cuts of each kind gained."""
        for kind in (True, False):
            gains = [
                float(value) - self._tree.open[number]
                for number, value in zip(_numbers(found.boxes), found.found.value, strict=True)
                if number in self._tree.parents
                and (self._tree.parents[number][1].node == self.problem.graph.input.name) == kind
            ]
            gains = [gain for gain in gains if math.isfinite(gain)]
            if gains:
                mean, old = sum(gains) / len(gains), self._gains[kind]
                self._gains[kind] = mean if math.isinf(old) else _SHARE * old + (1 - _SHARE) * mean

    def _chosen(self, found: Bounded, of_input: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return for each part the node to cut by number (-1 is the input), the entry, where, and if there is one."""
        n = len(found.boxes)
        node, entry = (torch.full((n,), -1, dtype=torch.int64) for _ in range(2))
        score, at = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        if of_input and self._inputs:
            name = self.problem.graph.input.name
            line = flat(found.found.met.get(name, torch.zeros_like(found.boxes.low)), 1)
            moved = moved_by_inputs(found.bounds, found.rows, line, found.boxes)
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

    def _look(self, found: Bounded) -> None:
        """See what margins the network itself has in the middles of parts, and where lines are least."""
        boxes = found.boxes
        line = found.found.met.get(self.problem.graph.input.name)
        corners = boxes.low if line is None else torch.where(flat(line, 1) > 0, boxes.low, boxes.high)
        self._judge(torch.cat([corners, 0.5 * boxes.low + 0.5 * boxes.high]))
        if self._batches % _DESCENDED == 0 and self.ending == "proved":
            worst = found.found.value.argmin().view(1)
            row = torch.tensor([self._rows[int(boxes.conjunction[worst])]])
            self._looked += 2 * STEPS
            self._judge(self.network.descended(row, corners[worst]))

    def _judge(self, points: Tensor) -> None:
        points = self.network.region.inside(points)
        margins = self.network.margins(points)[:, self._rows]
        for at, least in enumerate(margins.amin(dim=0).tolist()):
            if self.limits.gap is not None:
                self._levels[at] = min(float(self._levels[at]), least - self.limits.gap)
            elif least <= 0 and self.witness is None:
                self.witness, self.ending = points[int(margins.amin(dim=1).argmin())], "witness"

    def _piece(self, found: Bounded, at: int, number: int) -> Piece | None:
        """Return what a part's bound stands on, or None once too much is kept."""
        slopes, final = found.lines(at)
        self._held += sum(slope.numel() for slope, _ in slopes.values())
        if self._held > _RECORDED:
            return None
        path = self._tree.steps(number, found.pulls, at)
        return Piece(path=path, slopes=slopes, final=final, refreshed=self._bounding.refreshes)


def _numbers(boxes: Boxes) -> list[int]:
    return [] if boxes.number is None else boxes.number.tolist()
