"""Parts of a domain that a search cuts, the tree they make, and when a search stops."""

import time
from dataclasses import dataclass, field

from torch import Tensor

from epsball.certificates.branching.tightening.neurons import rounded
from epsball.certificates.branching.tree import Ending

PARTS_AT_ONCE = 96
"""Parts that are split together."""


@dataclass(kw_only=True, eq=False)
class Branch:
    """A part of the domain and what is cut from it, which share envelopes.

    Parameters
    ----------
    number
        The number of the envelopes.
    top
        The part; None for the whole domain.
    chosen
        Whether these envelopes were chosen for it.
    bounded
        How many parts were bounded below it.
    """

    number: int = 0
    top: "Part | None" = None
    chosen: bool = True
    bounded: int = 0


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
    branch
        What it shares envelopes with.
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
    branch: Branch


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
    level
        What a proof shows a row to exceed.
    """

    parts: int | None = None
    passes: int | None = None
    deadline: float | None = None
    at_once: int = PARTS_AT_ONCE
    gap: float | None = None
    level: float = 0.0

    def reached(self, parts: int, passes: int) -> Ending | None:
        """Return what is spent, or None."""
        if self.parts is not None and parts >= self.parts:
            return "parts"
        if self.passes is not None and passes >= self.passes:
            return "passes"
        return "time" if self.deadline is not None and time.process_time() >= self.deadline else None


def leaf_slopes(part: Part) -> Tensor:
    """Return the slopes a leaf is proved with: rounded, and 0 where they do not matter."""
    return rounded(part.slopes.double() * part.relevant)
