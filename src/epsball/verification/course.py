"""`Course`: in which order a query is searched, bounded and split, and how the time is shared out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from epsball.certificates import methods_of
from epsball.errors import UnsupportedOperation
from epsball.verification.deadline import Deadline, TimeUp
from epsball.verification.proving import InputSplits, Task, complete, run_cascade
from epsball.verification.proving.cascade import BEFORE_SPLITS, OPTIMISED, Cascade
from epsball.verification.proving.combinations import combinations
from epsball.verification.search import Search

FEW_INPUTS = 16
"""Inputs up to which boxes are halved before neurons are, where boxes are cheap."""

ROUNDS = 30
"""Rounds of search for a witness, where bounds leave something open."""

EARLY = 5
"""Rounds of them before slopes are optimised and neurons split, which may take all the time that is left."""

FEW_REGIONS = 8
"""Regions beyond which bounds come before the search: most of many are refuted at once."""

_WORTH = 20
"""Boxes per conjunction, each at the cost of the first, for which the time has to suffice, or neurons come first."""

_SEARCHED = 0.1
"""Share of the time left after which the early rounds end."""

_TURN = 4.0
"""Seconds of the first turn of splits of the input; each turn is twice as long as the one before."""

_YIELD = 0.25
"""Share of what is open that a turn of such splits has to close, or branch and bound over neurons has a turn too."""

_FIRST = 0.25
"""Share of the time after which the first round ends."""

_LEAST = 0.01
"""Seconds below which the time counts as up."""

_SEEN = 64
"""Random points beside those of the search from which combinations of rows are chosen."""


@dataclass(kw_only=True, eq=False)
class Course:
    """The course of a verification: everything cheap first, then effort where it closes something.

    Parameters
    ----------
    tasks, searches
        What is to be refuted, and the searches in the same regions.

    Attributes
    ----------
    by
        The method that refuted last.
    rounds
        Rounds of search after the first.
    boxes, stuck
        Boxes of inputs that were bounded by splits, and how many of them are given up.
    reasons
        Why something is still open.
    boundless
        Whether the network has an operation without bounds.
    """

    tasks: list[Task] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    by: str | None = None
    rounds: int = 0
    boxes: int = 0
    stuck: int = 0
    reasons: list[str] = field(default_factory=list)
    boundless: bool = False

    def run(self, deadline: Deadline) -> None:
        """Search and prove until everything is refuted, a witness is found, or nothing is left to try.

        Raises
        ------
        Found
            At a witness.
        TimeUp
            If the time is up.
        """
        for task, search in self._open():
            if len(self.tasks) > FEW_REGIONS:
                self._bound(task, BEFORE_SPLITS, deadline)
            last = _searched(task, search, 0, deadline.sooner(_FIRST * deadline.left), deadline)
            task.combinations = _combinations(search, last)
        cascades = {task.number: self._bound(task, _without_slopes(task), deadline) for task, _ in self._open()}
        split = set[int]()
        for task, search in self._open():
            if self._is_cheap(task, cascades[task.number], deadline):
                split.add(task.number)
                self._split(task, search, deadline)
        self._search_early(self._open(), deadline)
        for task, search in self._open():
            if task.number not in split:
                self._bound(task, (OPTIMISED,), deadline, cascades[task.number])
            self._branch(task, search, deadline)
        for number in range(self.rounds + 1, ROUNDS + 1):
            for task, search in self._open():
                search.round(number, task.open, deadline)

    def _open(self) -> list[tuple[Task, Search]]:
        """Return the tasks that are not refuted, with their searches."""
        return [(task, search) for task, search in zip(self.tasks, self.searches, strict=True) if not task.refuted]

    def _is_cheap(self, task: Task, cascade: Cascade, deadline: Deadline) -> bool:
        """Return whether boxes have few inputs and time is left for so many of them that splitting them may end."""
        few = task.region.varying <= FEW_INPUTS and not self.boundless
        return few and cascade.seconds * _WORTH * int(task.open.sum()) <= deadline.left

    def _bound(self, task: Task, names: Sequence[str], deadline: Deadline, before: Cascade | None = None) -> Cascade:
        """Bound whole boxes; a node without bounds leaves the search."""
        if self.boundless or task.refuted:
            return Cascade()
        try:
            found = run_cascade(task, names, deadline, before)
        except UnsupportedOperation as error:
            self.boundless = True
            self.reasons.append(f"no bounds: {error}")
            return Cascade()
        self.by = found.last
        return found

    def _search_early(self, pairs: Sequence[tuple[Task, Search]], deadline: Deadline) -> None:
        """Search for some rounds, within a small share of the time; later calls go on with other rounds."""
        turn = deadline.sooner(_SEARCHED * deadline.left)
        for _ in range(EARLY):
            self.rounds += 1
            for task, search in pairs:
                if turn.left <= 0:
                    return
                _searched(task, search, self.rounds, turn, deadline)

    def _split(self, task: Task, search: Search, deadline: Deadline) -> None:
        """Split the input, in turns with the neurons where that closes little."""
        if task.record is not None:
            # These splits of the input are proofs that can be replayed; those below are faster and are none.
            self._branch(task, search, deadline, seconds=0.5 * deadline.left)
            if task.refuted:
                return
        splits, turn, hurried = InputSplits(task, search), _TURN, True
        try:
            while not self._turn(splits, turn, deadline):
                if splits.closed < _YIELD:
                    self._search_early([(task, search)], deadline)
                if hurried and splits.closed < _YIELD:
                    hurried = self._branch(task, search, deadline, seconds=turn)
                    splits.forget()
                turn *= 2
        finally:
            self.boxes += splits.bounded
            self.stuck += splits.stuck

    def _turn(self, splits: InputSplits, seconds: float, deadline: Deadline) -> bool:
        """Split for some seconds; return whether no box is left."""
        if splits.task.refuted:
            return True
        done = splits.run(deadline, seconds=seconds)
        self.by = "input splits"
        return done

    def _branch(self, task: Task, search: Search, deadline: Deadline, seconds: float = math.inf) -> bool:
        """Branch on neurons; what comes near a witness on the way is searched from.

        Returns whether it ended by the clock. All boxes together take so many seconds; without a number they share
        what is left, again and again.
        """
        hurried = not self.boundless
        while hurried and not task.refuted:
            found = complete(task, deadline, seconds=seconds)
            self.by, hurried = "complete", found.hurried
            self.reasons += found.reasons
            for box, conjunction, point in found.points:
                search.near(point, box, conjunction, deadline)
            if seconds < math.inf or deadline.left < _LEAST:
                break
        return hurried


def _without_slopes(task: Task) -> tuple[str, ...]:
    """Return the methods for whole boxes before slopes are optimised."""
    if task.region.varying <= FEW_INPUTS:
        return BEFORE_SPLITS
    return tuple(name for name in methods_of("auto", task.graph, "linf") if name != OPTIMISED)


def _searched(task: Task, search: Search, number: int, turn: Deadline, deadline: Deadline) -> Tensor:
    """Search for one round, or until a turn is over; return the last points, none where it was."""
    try:
        return search.round(number, task.open, turn)
    except TimeUp:
        if deadline.left < _LEAST:
            raise
        return search.region.low[:0]


def _combinations(search: Search, last: Tensor) -> Tensor:
    """Return combinations of rows, chosen at the last points of the search and at random ones."""
    region = search.region
    if not len(last) or all(len(rows) < 2 for rows in region.conjunctions):
        return torch.zeros(len(region.conjunctions), len(region.rows), dtype=torch.float64)
    generator = torch.Generator().manual_seed(search.seed)
    share = torch.rand(_SEEN, *region.low.shape[1:], generator=generator, dtype=torch.float64)
    box = int(torch.nonzero(region.searchable)[0])
    low, high = region.low[box], region.high[box]
    points = torch.cat([last, (low + share * (high - low)).to(low.dtype).clamp(low, high)])
    with torch.no_grad():
        return combinations(region, region.rows.values(points, search.graph(points)))
