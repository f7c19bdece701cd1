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

CLIMB = Schedule(4, 0.1, 0.1)
"""The ascent of a new part of the domain, from the slopes and multipliers of the part it was cut from."""

_CANDIDATES = 3
"""Rectifiers that each of the two scores proposes."""

_PARTS = 96
"""Parts that are split together."""

_ALLOWANCE = 1.5
"""A part's goal, as a multiple of what the proof at the root, or of the part itself, lost to rounding."""

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
        Where a slope matters: the coefficient is positive.
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
    """When a search stops: parts bounded, a time on the process's clock, parts at once."""

    parts: int | None = None
    deadline: float | None = None
    at_once: int = _PARTS

    def reached(self, parts: int) -> bool:
        """Return whether nothing more may be spent."""
        return (self.parts is not None and parts >= self.parts) or (
            self.deadline is not None and time.process_time() >= self.deadline
        )


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
    limits
        When it stops.
    """

    def __init__(
        self, dual: Dual, layers: Sequence[Layer], *, prove: Prove, exact: Exact, margins: Margins, limits: Limits
    ) -> None:
        self.dual, self.prove, self.exact, self.margins, self.limits = dual, prove, exact, margins, limits
        self.trees: dict[int, RowTree] = {}
        self.failed: dict[int, str] = {}
        self.bounded = 0
        self.witness: Tensor | None = None
        self._open: list[tuple[float, int, Part]] = []
        self._closing: list[Part] = []
        self._pushed = 0
        self._on_too, self._off_too = _following(layers)

    def start(self, rows: Sequence[int], parts: Parts, bound: Bound) -> None:
        """Begin with the whole domain for some rows, whose bounds are given; the proofs there set the rows' goals."""
        scores = self._candidates(parts, bound)
        self.trees = {row: RowTree() for row in rows}
        self._closing = [self._part(row, 0, 0.0, (), parts, bound, scores, at) for at, row in enumerate(rows)]
        self._close()

    def run(self) -> None:
        """Split until every part is closed, a row has failed, or a limit is reached."""
        while True:
            if len(self._closing) >= _LEAVES or (self._closing and not self._open):
                self._close()
            if not self._open or self.failed or self.witness is not None or self.limits.reached(self.bounded):
                break
            self._split([heapq.heappop(self._open)[2] for _ in range(min(self.limits.at_once, len(self._open)))])
        if not self.witness_found:
            self._close()

    @property
    def witness_found(self) -> bool:
        """Whether a point was found at which some margin is not positive."""
        return self.witness is not None

    @property
    def open(self) -> list[Part]:
        """The parts that are not closed."""
        return [part for _, _, part in self._open]

    def proved(self, row: int) -> bool:
        """Return whether every part of a row is closed."""
        return row not in self.failed and not any(part.row == row for part in (*self.open, *self._closing))

    def _file(self, part: Part) -> None:
        """Put a part where it belongs: to those that are to be proved, or to be split."""
        if part.bound > part.goal:
            self._closing.append(part)
        elif not bool((part.states == 0).any()):
            self._settle(part)
        else:
            self._push(part)

    def _push(self, part: Part) -> None:
        self._pushed += 1
        # The largest bound first: few parts are open at a time.
        heapq.heappush(self._open, (-part.bound, self._pushed, part))

    def _settle(self, part: Part) -> None:
        """Bound a part without a free rectifier by its optimum; if that is no proof, its row has none."""
        multipliers = self.exact(part)
        if multipliers is not None:
            part.multipliers = multipliers
            value = float(self.prove([part])[0])
            if value > 0:
                self.trees[part.row].leaves[part.number] = (part, value)
                return
        self.failed[part.row] = "rounding"
        self._note_witness(part.point.unsqueeze(0))
        self._drop(part.row)

    def _drop(self, row: int) -> None:
        self._open = [entry for entry in self._open if entry[2].row != row]
        heapq.heapify(self._open)
        self._closing = [part for part in self._closing if part.row != row]

    def _close(self) -> None:
        """Prove the leaves that wait; one that is not proved is split on, to a goal that would have been enough."""
        waiting, self._closing = self._closing, []
        if not waiting:
            return
        for part, value in zip(waiting, self.prove(waiting).tolist(), strict=True):
            if part.row in self.failed:
                continue
            if value > 0:
                self.trees[part.row].leaves[part.number] = (part, value)
            elif not math.isfinite(value):
                self.failed[part.row] = "overflow"
                self._drop(part.row)
            else:
                part.goal = max(_ALLOWANCE * (part.bound - value), 1.1 * part.bound)
                self._file(part)

    def _split(self, batch: Sequence[Part]) -> None:
        """Cut parts in two each, and bound the halves."""
        batch = [part for part in batch if part.row not in self.failed]
        if not batch:
            return
        worst = min(batch, key=lambda part: part.bound)
        self._note_witness(worst.point.unsqueeze(0))
        if self.witness_found:
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
            relevant=bound.coefficients[at] > 0,
            candidates=scores[at],
            point=bound.point[at],
        )

    def _candidates(self, parts: Parts, bound: Bound) -> Tensor:
        """Return rectifiers to try, (b, c): those that lose most where the bound is attained, or by their intercept."""
        free = parts.states == 0
        z, r = self.dual.inputs(parts, bound)
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

    def _note_witness(self, points: Tensor) -> None:
        points = self.dual.region.inside(points)
        if bool((self.margins(points) <= 0).any()):
            self.witness = points[0]


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
