"""`Claim`: one sentence of the chapter, how it is decided, and what the decision may be called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from epsball.names import SizeName as Size

Verdict = Literal["reproduced", "pattern", "differs", "misprinted", "false as stated", "not measured"]
"""What is found of a claim.

reproduced
    Same data, radius, family of architecture and attack: the chapter's value lies in our 95% interval; of a formula:
    it is the value that another computation gives.
pattern
    Every order that was written down beforehand holds, by a paired test at 5% or, of a law, without exception.
differs
    Neither; the sentence says why.
misprinted
    The chapter departs from the source it cites.
false as stated
    A counterexample is measured.
not measured
    It needs data or a size that this run had not; the sentence says which.
"""

Column = Sequence[Any]
"""Numbers, truth values or texts; None is not known."""

Table = Mapping[str, Column]
"""Columns of one length."""

Tables = Mapping[str, Table]
"""What an item measured; its findings and its figure are made of nothing else."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was found of a claim.

    Parameters
    ----------
    verdict
        See `Verdict`.
    sentence
        What was measured, with its figures.
    """

    verdict: Verdict
    sentence: str

    def at(self, size: Size) -> "Decision":
        """Return the decision as a run of this size may state it: the small one reproduces no published value."""
        capped = size == "fast" and self.verdict == "reproduced"
        return replace(self, verdict="pattern") if capped else self


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the chapter.

    Parameters
    ----------
    name
        Unique within its item.
    says
        What the chapter says, in our words.
    criterion
        How it is decided, in words; `decide` is the same in code.
    decide
        From the item's tables to a decision.
    source
        What the work cited says, where that is another thing.
    truth
        What holds instead, where the chapter is wrong.
    """

    name: str
    says: str
    criterion: str
    decide: Callable[[Tables], Decision]
    source: str = ""
    truth: str = ""
