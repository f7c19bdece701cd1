"""The search: parts of the domain that are not proved yet, split one rectifier at a time; for one example."""

import heapq
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from epsball.certificates.branching.relaxation.dual import Dual
from epsball.certificates.branching.relaxation.reduced import Layer
from epsball.certificates.branching.relaxation.subproblems import Bound, Parts, Schedule
from epsball.certificates.branching.search.choosing import Cuts
from epsball.certificates.branching.search.descent import STEPS, Descent
from epsball.certificates.branching.search.parts import Branch, Limits, Part, RowTree
from epsball.certificates.branching.tree import Ending

_STEPS = 4, 16
"""Fewest and most steps of the ascent of a new part of the domain."""

_ALLOWANCE = 1.5
"""A part's goal, as a multiple of what the proof at the root, or of the part itself, lost to rounding."""

_PROVED_OPEN = 1024
"""Open parts up to which what a search found is proved where it ends without a proof."""

_DESCENDED = 16
"""Every so many batches the margin is descended from the worst part's point: a few percent of what they cost."""

_BRANCH = 480
"""Parts that a branch takes before its envelopes are chosen anew, which costs about as much."""

_AGAIN = Schedule(16, 0.05, 0.1, 0.95)
"""The ascent of open parts with other envelopes."""

_LEAVES = 64
"""Leaves that wait for their proof."""


Prove = Callable[[Sequence[Part]], Tensor]
"""Given leaves of one example, their proved bounds, (L,)."""

Anew = Callable[[Part], Dual]
"""Given a part, the rows over the reduced network with envelopes that are chosen for that part."""

Exact = Callable[[Part], tuple[Tensor, Tensor] | None]
"""Given a part without a free rectifier, the multipliers of its best bound and where it is attained, or None."""


class Search:
    """Branch and bound of some rows of one example.

    Parameters
    ----------
    dual, layers
        The rows over the reduced network.
    prove, exact, network
        The proof of leaves, the optimum of parts without a free rectifier, and the network itself.
    anew
        Chooses envelopes for a part, whose number is one more than before; None leaves them as they are.
    """

    def __init__(
        self,
        dual: Dual,
        layers: Sequence[Layer],
        *,
        prove: Prove,
        exact: Exact,
        network: Descent,
        anew: Anew | None = None,
    ) -> None:
        self.prove, self.exact, self.network, self.limits = prove, exact, network, Limits()
        self.duals, self._layers, self._anew = [dual], layers, anew
        self.trees: dict[int, RowTree] = {}
        self.bounded = 0
        self.ending: Ending = "proved"
        self.witness: Tensor | None = None
        self._levels: dict[int, float] = {}
        self.roots: dict[int, float] = {}
        self._open: list[tuple[float, int, Part]] = []
        self._closing: list[Part] = []
        self._pushed = self._batches = 0
        self.cuts = [Cuts(dual, layers)]
        self._shared = dual.shared

    def start(self, rows: Sequence[int], parts: Parts, bound: Bound, limits: Limits) -> None:
        """Begin with the whole domain for some rows, whose bounds are given; the proofs there set the rows' goals."""
        self.limits = limits
        scores = self.cuts[0].candidates(parts, bound)
        self.trees = {row: RowTree() for row in rows}
        self._levels = dict.fromkeys(rows, limits.level if limits.gap is None else math.inf)
        self._look(bound.point)
        self._descend(torch.tensor(rows), bound.point)
        whole = [Branch() for _ in rows]
        self._closing = [
            self._part(row, 0, -math.inf, (), whole[at], parts, bound, scores, at) for at, row in enumerate(rows)
        ]
        self.roots = dict(zip(rows, self._close(), strict=True))

    def run(self) -> None:
        """Split until every part is closed, a row has failed, or a limit is reached."""
        while self.ending == "proved":
            if len(self._closing) >= _LEAVES or (self._closing and not self._open):
                self._close()
            elif not self._open:
                break
            else:
                reached = self.limits.reached(self.bounded, self.passes)
                if reached is not None:
                    self.ending = reached
                    break
                self._split(self._next())
        if self.ending != "witness":
            self._close()

    @property
    def passes(self) -> int:
        """Rows carried."""
        return sum(dual.passes for dual in self.duals)

    @property
    def open(self) -> list[Part]:
        """The parts that are not closed."""
        return [part for _, _, part in self._open] + self._closing

    @property
    def closed(self) -> float:
        """The share of the rows' domains that is closed: a part counts for half of the one it was cut from."""
        leaves = (part for tree in self.trees.values() for part, _ in tree.leaves.values())
        return sum(2.0 ** -len(part.path) for part in leaves) / max(1, len(self.trees))

    def proved(self, row: int) -> bool:
        """Return whether every part of a row is a leaf."""
        return all(part.row != row for part in self.open)

    def lower_bounds(self, *, with_open: bool) -> dict[int, float]:
        """Return what is proved of each row: at its root, by its leaves, and by open parts if they are few."""
        found = {row: min((v for _, v in tree.leaves.values()), default=math.inf) for row, tree in self.trees.items()}
        left = self.open
        proved = self.prove(left).tolist() if with_open and 0 < len(left) <= _PROVED_OPEN else [-math.inf] * len(left)
        for part, value in zip(left, proved, strict=True):
            found[part.row] = min(found[part.row], value)
        # A row's tree is no proof while it is open, so that its bound at the root may stand beside it.
        rows = {part.row for part in left}
        return {row: max(value, self.roots[row]) if row in rows else value for row, value in found.items()}

    def close_open(self) -> None:
        """Prove the open parts, if they are few, and take those that need no further cut as leaves."""
        left = self.open
        if self.limits.gap is not None or not 0 < len(left) <= _PROVED_OPEN:
            return
        self._open, self._closing = [], []
        for part, value in zip(left, self.prove(left).tolist(), strict=True):
            if value > self.limits.level:
                self.trees[part.row].leaves[part.number] = (part, value)
            else:
                self._push(part)
        if not self._open and self.ending in ("parts", "passes", "time"):
            self.ending = "proved"

    def _file(self, part: Part) -> None:
        """Put a part where it belongs: to those that are to be proved, or to be split."""
        if part.bound > max(part.goal, self._levels[part.row]):
            self._closing.append(part)
        elif not bool((part.states == 0).any()):
            self._settle(part)
        else:
            self._push(part)

    def _push(self, part: Part) -> None:
        self._pushed += 1
        # For proofs the largest bound first, so that few parts are open at a time; for a minimum the least.
        heapq.heappush(self._open, (-part.bound if self.limits.gap is None else part.bound, self._pushed, part))

    def _settle(self, part: Part) -> None:
        """Bound a part without a free rectifier by its optimum; if that is no proof, its row has none."""
        found = self.exact(part)
        if found is not None:
            part.multipliers, point = found
            self._look(point.unsqueeze(0))
        value = float(self.prove([part])[0])
        self.trees[part.row].leaves[part.number] = (part, value)
        if value <= self.limits.level and self.limits.gap is None and self.ending == "proved":
            self.ending = "rounding"

    def _close(self) -> list[float]:
        """Prove the leaves that wait; one that is not proved is split on, to a goal that would have been enough."""
        waiting, self._closing = self._closing, []
        values = self.prove(waiting).tolist() if waiting else []
        for part, value in zip(waiting, values, strict=True):
            if value > self.limits.level if self.limits.gap is None else value >= self._levels[part.row]:
                self.trees[part.row].leaves[part.number] = (part, value)
            elif not math.isfinite(value):
                self.ending = "overflow"
                self._push(part)
            else:
                lost = max(part.bound - value, 0.0 if self.limits.gap else 2.0**-20 * abs(part.bound))
                part.goal = self._levels[part.row] + _ALLOWANCE * lost
                self._file(part)
        return values

    def _next(self) -> list[Part]:
        """Return the parts to split next, which share envelopes."""
        number = self._open[0][2].branch.number
        if len(self.duals) == 1:
            return [heapq.heappop(self._open)[2] for _ in range(min(self.limits.at_once, len(self._open)))]
        chosen = heapq.nsmallest(self.limits.at_once, (one for one in self._open if one[2].branch.number == number))
        taken = {order for _, order, _ in chosen}
        self._open = [one for one in self._open if one[1] not in taken]
        heapq.heapify(self._open)
        return [part for _, _, part in chosen]

    def _renew(self, branch: Branch) -> None:
        """Choose envelopes for a branch that took many parts; if they were, its open parts become branches."""
        parts = [part for _, _, part in self._open if part.branch is branch]
        if branch.top is None or branch.chosen:
            for part in parts:
                part.branch = Branch(number=branch.number, top=part, chosen=False)
            return
        if self._anew is None or not parts:
            return
        dual = self._anew(branch.top)
        cuts = Cuts(dual, self._layers)
        self.duals.append(dual)
        self.cuts.append(cuts)
        new = Branch(number=len(self.duals) - 1, top=branch.top)
        self._open = [one for one in self._open if one[2].branch is not branch]
        heapq.heapify(self._open)
        best, bound = dual.ascend(cuts.parts(parts), _AGAIN)
        scores = cuts.candidates(best, bound)
        for at, part in enumerate(parts):
            self._file(self._part(part.row, part.number, part.goal, part.path, new, best, bound, scores, at))

    def _split(self, batch: Sequence[Part]) -> None:
        """Cut parts in two each, and bound the halves."""
        number = batch[0].branch.number
        dual, cuts = self.duals[number], self.cuts[number]
        units = cuts.best_units(batch, self.limits.at_once)
        children = cuts.halves(batch, units)
        best, bound = dual.ascend(children, climb([len(part.path) for part in batch]))
        self.bounded += len(children.rows)
        worst = bound.value.argmin().view(1)
        self._look(bound.point[worst])
        self._batches += 1
        if self._batches % _DESCENDED == 0:
            self._descend(children.rows[worst], bound.point[worst])
        scores = cuts.candidates(best, bound)
        for at, part in enumerate(batch):
            unit = int(units[at])
            part.branch.bounded += 2
            numbers = self.trees[part.row].split(part.number, unit)
            for half, sign in enumerate((-1, 1)):
                path = (*part.path, (unit, sign))
                given = part.row, numbers[half], part.goal, path, part.branch
                self._file(self._part(*given, best, bound, scores, 2 * at + half))
        if self._anew is not None:
            for branch in dict.fromkeys(part.branch for part in batch):
                if branch.bounded >= _BRANCH:
                    self._renew(branch)

    def _part(
        self,
        row: int,
        number: int,
        goal: float,
        path: tuple[tuple[int, int], ...],
        branch: Branch,
        parts: Parts,
        bound: Bound,
        scores: Tensor,
        at: int,
    ) -> Part:
        return Part(
            row=row,
            number=number,
            bound=float(bound.value[at]),
            goal=goal,
            path=path,
            states=parts.states[at],
            slopes=parts.slopes[at].half(),
            multipliers=parts.multipliers[at],
            relevant=(bound.coefficients[at] > 0) | self._shared,
            candidates=scores[at],
            branch=branch,
        )

    def _descend(self, rows: Tensor, points: Tensor) -> None:
        """See where descent of rows' margins leads from points."""
        if self.ending == "proved":
            self.duals[0].passes += 2 * STEPS * len(rows)
            self._look(self.network.descended(rows, points.contiguous()))

    def _look(self, points: Tensor) -> None:
        """See what margins the network itself has at points of the domain."""
        points = self.network.region.inside(points)
        margins = self.network.margins(points)[:, list(self.trees)]
        for row, least in zip(self.trees, margins.amin(dim=0).tolist(), strict=True):
            if self.limits.gap is not None:
                self._levels[row] = min(self._levels[row], least - self.limits.gap)
            elif least <= 0 and self.witness is None:
                self.witness, self.ending = points[int(margins.amin(dim=1).argmin())], "witness"


def climb(depths: Sequence[int]) -> Schedule:
    """Return the ascent of the halves of parts cut so often, from the slopes and multipliers of these.

    Every cut adds a multiplier, so that what is left to gain grows with the cuts: half as many steps as these.
    """
    least, most = _STEPS
    steps = min(most, max(least, sum(depths) // (2 * len(depths))))
    return Schedule(steps, 0.1 if steps == least else 0.05, 0.1, 0.95)
