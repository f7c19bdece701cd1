"""The search: parts of the domain that are not proved yet, split one rectifier at a time; for one example.

References
----------
De Palma et al., "Improved branch and bound for neural network verification via Lagrangian decomposition" (2021):
filtered branching, candidates by score and a look ahead at both children of each.
"""

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from epsball.certificates.branching.dual import Bound, Dual, Parts, Schedule
from epsball.certificates.branching.reduced import Layer
from epsball.certificates.branching.tightening import rounded
from epsball.certificates.branching.tree import Ending

CLIMB = Schedule(4, 0.1, 0.1)
"""The ascent of a new part of the domain, from the slopes and multipliers of the part it was cut from."""

_CANDIDATES = 3
"""Rectifiers that each of the two scores proposes."""

PARTS_AT_ONCE = 96
"""Parts that are split together."""

_ALLOWANCE = 1.5
"""A part's goal, as a multiple of what the proof at the root, or of the part itself, lost to rounding."""

_PROVED_OPEN = 1024
"""Open parts up to which what a search found is proved where it ends without a proof."""

_LEAVES = 64
"""Leaves that wait for their proof."""


@dataclass(kw_only=True, eq=False)
class Part:
    """A part of the domain, for one row.

    Parameters
    ----------
    row, number
        The row, and its number in the row's tree.
    bound, goal
        Its bound in the search, and the value above which it is closed.
    path
        The rectifiers split, by number, with the sign of each.
    states, slopes, multipliers
        (m,): as in `Parts`; slopes in float16.
    relevant
        Where a slope matters: the coefficient is positive, or there is an envelope.
    candidates
        Rectifiers to split next.
    point
        Where the relaxation is least.
    """

    row: int
    number: int
    bound: float
    goal: float
    path: tuple[tuple[int, int], ...]
    states: Tensor
    slopes: Tensor
    multipliers: Tensor
    relevant: Tensor
    candidates: Tensor
    point: Tensor


@dataclass(kw_only=True, eq=False)
class RowTree:
    """The tree of one row: children by number of the part they were cut from, and the leaves proved, by number."""

    children: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    leaves: dict[int, tuple[Part, float]] = field(default_factory=dict)
    size: int = 1

    def split(self, number: int, unit: int) -> tuple[int, int]:
        """Cut a part at a rectifier; return the numbers of the parts below and above its kink."""
        below, above = self.size, self.size + 1
        self.children[number] = (unit, below, above)
        self.size += 2
        return below, above


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search stops.

    Parameters
    ----------
    parts, passes, deadline
        Parts bounded, rows carried, and a time on the process's clock; None means no limit.
    at_once
        Parts that are split together.
    gap
        Instead of a proof that a row is positive, its least margin is sought to within this; None seeks proofs.
    """

    parts: int | None = None
    passes: int | None = None
    deadline: float | None = None
    at_once: int = PARTS_AT_ONCE
    gap: float | None = None

    def reached(self, parts: int, passes: int) -> Ending | None:
        """Return what is spent, or None."""
        if self.parts is not None and parts >= self.parts:
            return "parts"
        if self.passes is not None and passes >= self.passes:
            return "passes"
        return "time" if self.deadline is not None and time.process_time() >= self.deadline else None


Prove = Callable[[Sequence[Part]], Tensor]
"""Given leaves of one example, their proved bounds, (L,)."""

Exact = Callable[[Part], Tensor | None]
"""Given a part without a free rectifier, the multipliers of its best bound, or None."""

Margins = Callable[[Tensor], Tensor]
"""Given points (b, d), the margins of every row that the network has there, (b, R)."""


class Search:
    """Branch and bound of some rows of one example.

    Parameters
    ----------
    dual, layers
        The rows over the reduced network.
    prove, exact, margins
        The proof of leaves, the optimum of parts without a free rectifier, and the network itself.
    """

    def __init__(self, dual: Dual, layers: Sequence[Layer], *, prove: Prove, exact: Exact, margins: Margins) -> None:
        self.dual, self.prove, self.exact, self.margins, self.limits = dual, prove, exact, margins, Limits()
        self.trees: dict[int, RowTree] = {}
        self.bounded = 0
        self.ending: Ending = "proved"
        self.witness: Tensor | None = None
        self._levels: dict[int, float] = {}
        self.roots: dict[int, float] = {}
        self._open: list[tuple[float, int, Part]] = []
        self._closing: list[Part] = []
        self._pushed = 0
        self._on_too, self._off_too = _following(layers)
        self._shared = torch.cat(
            [torch.full((len(one),), over is not None) for one, over in zip(layers, dual.envelopes, strict=True)]
        )

    def start(self, rows: Sequence[int], parts: Parts, bound: Bound, limits: Limits) -> None:
        """Begin with the whole domain for some rows, whose bounds are given; the proofs there set the rows' goals."""
        self.limits = limits
        scores = self._candidates(parts, bound)
        self.trees = {row: RowTree() for row in rows}
        self._levels = dict.fromkeys(rows, 0.0 if self.limits.gap is None else math.inf)
        self._look(bound.point)
        self._closing = [self._part(row, 0, -math.inf, (), parts, bound, scores, at) for at, row in enumerate(rows)]
        self.roots = dict(zip(rows, self._close(), strict=True))

    def run(self) -> None:
        """Split until every part is closed, a row has failed, or a limit is reached."""
        while self.ending == "proved":
            if len(self._closing) >= _LEAVES or (self._closing and not self._open):
                self._close()
            elif not self._open:
                break
            else:
                reached = self.limits.reached(self.bounded, self.dual.passes)
                if reached is not None:
                    self.ending = reached
                    break
                self._split([heapq.heappop(self._open)[2] for _ in range(min(self.limits.at_once, len(self._open)))])
        if self.ending != "witness":
            self._close()

    @property
    def open(self) -> list[Part]:
        """The parts that are not closed."""
        return [part for _, _, part in self._open] + self._closing

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
        multipliers = self.exact(part)
        if multipliers is not None:
            part.multipliers = multipliers
        self._look(part.point.unsqueeze(0))
        value = float(self.prove([part])[0])
        self.trees[part.row].leaves[part.number] = (part, value)
        if value <= 0 and self.limits.gap is None and self.ending == "proved":
            self.ending = "rounding"

    def _close(self) -> list[float]:
        """Prove the leaves that wait; one that is not proved is split on, to a goal that would have been enough."""
        waiting, self._closing = self._closing, []
        values = self.prove(waiting).tolist() if waiting else []
        for part, value in zip(waiting, values, strict=True):
            if value > 0 if self.limits.gap is None else value >= self._levels[part.row]:
                self.trees[part.row].leaves[part.number] = (part, value)
            elif not math.isfinite(value):
                self.ending = "overflow"
                self._push(part)
            else:
                lost = max(part.bound - value, 0.0 if self.limits.gap else 2.0**-20 * abs(part.bound))
                part.goal = self._levels[part.row] + _ALLOWANCE * lost
                self._file(part)
        return values

    def _split(self, batch: Sequence[Part]) -> None:
        """Cut parts in two each, and bound the halves."""
        worst = min(batch, key=lambda part: part.bound)
        self._look(worst.point.unsqueeze(0))
        if self.ending == "witness":
            for part in batch:
                self._push(part)
            return
        units = self._best_units(batch)
        children = self._children(batch, units)
        best, bound = self.dual.ascend(children, CLIMB)
        self.bounded += len(children.rows)
        scores = self._candidates(best, bound)
        for at, part in enumerate(batch):
            unit = int(units[at])
            numbers = self.trees[part.row].split(part.number, unit)
            for half, sign in enumerate((-1, 1)):
                path = (*part.path, (unit, sign))
                self._file(self._part(part.row, numbers[half], part.goal, path, best, bound, scores, 2 * at + half))

    def _part(
        self,
        row: int,
        number: int,
        goal: float,
        path: tuple[tuple[int, int], ...],
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
            point=bound.point[at],
        )

    def _candidates(self, parts: Parts, bound: Bound) -> Tensor:
        """Return rectifiers to try, (b, c): those that lose most where the bound is attained, or by their intercept."""
        free = parts.states == 0
        z, r, _ = self.dual.inputs(parts, bound)
        lost = bound.coefficients.abs() * (r - z.clamp(min=0)).abs()
        room = -bound.coefficients.clamp(max=0) * self.dual.intercept
        count = min(_CANDIDATES, free.shape[1])
        chosen = []
        for score in (lost, room):
            found = score.masked_fill(~free, -1.0).topk(count, dim=1)
            first = free.to(torch.uint8).argmax(dim=1, keepdim=True)
            chosen.append(torch.where(found.values >= 0, found.indices, first))
        return torch.cat(chosen, dim=1)

    def _best_units(self, batch: Sequence[Part]) -> Tensor:
        """Return for each part the candidate whose better half has the best bound, without an ascent."""
        candidates = torch.stack([part.candidates for part in batch])
        if candidates.shape[1] == 1 or not candidates.numel():
            return candidates[:, 0]
        repeated = [part for part in batch for _ in range(candidates.shape[1])]
        values = []
        for start in range(0, len(repeated), self.limits.at_once):
            some = slice(start, start + self.limits.at_once)
            halves = self._children(repeated[some], candidates.flatten()[some])
            values.append(self.dual.bound(halves).value)
        best = torch.cat(values).view(len(batch), -1, 2)
        score = best.amax(dim=2) + 1e-3 * best.amin(dim=2)
        return candidates.gather(1, score.argmax(dim=1, keepdim=True))[:, 0]

    def _children(self, batch: Sequence[Part], units: Tensor) -> Parts:
        """Return both halves of each part, below and above the kink in turn."""
        twice = torch.arange(len(batch)).repeat_interleave(2)
        states = torch.stack([part.states for part in batch])[twice]
        signs = torch.tensor([-1, 1], dtype=torch.int8).repeat(len(batch))
        implied = torch.where(signs > 0, self._on_too[units][twice], self._off_too[units][twice])
        follows = torch.nonzero(implied >= 0)[:, 0]
        states[follows, implied[follows]] = 2 * signs[follows]
        states[torch.arange(len(states)), units[twice]] = signs
        return Parts(
            torch.tensor([part.row for part in batch])[twice],
            states,
            torch.stack([part.slopes for part in batch])[twice].to(self.dual.dtype),
            torch.stack([part.multipliers for part in batch])[twice],
        )

    def _look(self, points: Tensor) -> None:
        """See what margins the network itself has at points of the domain."""
        points = self.dual.region.inside(points)
        margins = self.margins(points)[:, list(self.trees)]
        for row, least in zip(self.trees, margins.amin(dim=0).tolist(), strict=True):
            if self.limits.gap is not None:
                self._levels[row] = min(self._levels[row], least - self.limits.gap)
            elif least <= 0 and self.witness is None:
                self.witness, self.ending = points[int(margins.amin(dim=1).argmin())], "witness"


def _following(layers: Sequence[Layer]) -> tuple[Tensor, Tensor]:
    """Return for each rectifier another of the same entry that is on when it is, or off when it is; -1 for none."""
    named = [
        (layer.node, place, kink)
        for layer in layers
        for place, kink in zip(layer.places.tolist(), layer.kinks.tolist(), strict=True)
    ]
    on, off = (torch.full((len(named),), -1, dtype=torch.int64) for _ in range(2))
    first: dict[tuple[str, int], tuple[int, float]] = {}
    for unit, (node, place, kink) in enumerate(named):
        if (node, place) not in first:
            first[node, place] = unit, kink
            continue
        other, before = first[node, place]
        lesser, greater = (other, unit) if before < kink else (unit, other)
        on[greater], off[lesser] = lesser, greater
    return on, off


def leaf_slopes(part: Part) -> Tensor:
    """Return the slopes a leaf is proved with: rounded, and 0 where they do not matter."""
    return rounded(part.slopes.double() * part.relevant)
