"""What a gate asks, and how each condition is decided on the examples audited so far."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Bool

from epsball.errors import InputError
from epsball.interface import argument
from epsball.radius import format_radius, parse_radius
from epsball.sequential import CountTest, Side

Column = Bool[np.ndarray, " n"]
Ends = Literal["lower", "upper", "kept"]
"""Which examples count: certified and right; right and not broken; not newly broken."""

Counts = Mapping[Ends, int]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """At least a share of all examples must have a property, or at most a number of them may have lost it.

    Parameters
    ----------
    name
        The condition's option: ``"min_robust"``, ``"min_certified"``, ``"min_under_attack"``, ``"max_newly_broken"``.
    share
        The least share, exact, in (0, 1]; of ``"max_newly_broken"`` the most examples.
    passes_on, fails_on
        Which end of what is known of an example counts for passing, and which for failing: the lower one, certified
        and right, the upper one, right and not broken, or that it is not newly broken.
    meaning
        What passing says, and what not.

    Examples
    --------
    >>> condition = Condition.of("min_robust", "0.9")
    >>> condition.threshold(1000), condition.passes_on, condition.fails_on
    (900, 'lower', 'upper')
    """

    name: str
    share: Fraction
    passes_on: Ends
    fails_on: Ends
    meaning: str

    @classmethod
    def of(cls, name: str, share: str | int | float | Fraction) -> "Condition":
        """Return the condition of an option.

        Raises
        ------
        InputError
            If the share is not in (0, 1], or the number not a whole one.
        """
        if name == NEWLY_BROKEN:
            return cls._of_newly_broken(share)
        rule = "it is a share of the examples, in (0, 1], as in 0.9."
        try:
            exact = parse_radius(share)
        except InputError as error:
            raise InputError(f"{argument(name)} is {share!r}; {rule}") from error
        if not 0 < exact <= 1:
            raise InputError(f"{argument(name)} is {share}; {rule}")
        passes_on, fails_on, meaning = _ENDS[name]
        return cls(name=name, share=exact, passes_on=passes_on, fails_on=fails_on, meaning=meaning)

    @classmethod
    def _of_newly_broken(cls, most: str | int | float | Fraction) -> "Condition":
        rule = "it is a whole number of examples, at least 0, as in 5."
        try:
            exact = parse_radius(most)
        except InputError as error:
            raise InputError(f"{argument(NEWLY_BROKEN)} is {most!r}; {rule}") from error
        if exact.denominator != 1:
            raise InputError(f"{argument(NEWLY_BROKEN)} is {most}; {rule}")
        passes_on, fails_on, meaning = _ENDS[NEWLY_BROKEN]
        return cls(name=NEWLY_BROKEN, share=exact, passes_on=passes_on, fails_on=fails_on, meaning=meaning)

    @property
    def asked(self) -> str:
        """What is asked, as tables have it: the least share, or the most examples."""
        return f"{'at most' if self.name == NEWLY_BROKEN else 'at least'} {format_radius(self.share)}"

    def threshold(self, total: int) -> int:
        """Return the least count of all examples that meets the condition: the share's integer ceiling."""
        if self.name == NEWLY_BROKEN:
            return max(0, total - int(self.share))
        return math.ceil(self.share * total)

    def answer(self, counts: Counts, drawn: int, total: int, *, alpha: float, conditions: int) -> Side | None:
        """Return what the examples drawn so far say of all of them, or None.

        Parameters
        ----------
        counts
            How many of them count by each end.
        drawn, total
            How many were drawn, at random, of how many.
        alpha, conditions
            Probability of ever passing wrongly; of failing wrongly it is alpha over the number of conditions, since a
            gate passes where all of them pass, and fails where one fails.
        """
        threshold = self.threshold(total)
        if threshold < 1:  # As many may be newly broken as there are.
            return "at least"
        test = CountTest(total=total, threshold=threshold, alpha=alpha, alpha_below=alpha / conditions)
        if test.answer(counts[self.passes_on], drawn) == "at least":
            return "at least"
        return "below" if test.answer(counts[self.fails_on], drawn) == "below" else None


NEWLY_BROKEN = "max_newly_broken"
"""The condition relative to a baseline."""

_ENDS: dict[str, tuple[Ends, Ends, str]] = {
    "min_robust": ("lower", "upper", "robust accuracy, proved from both sides"),
    "min_certified": ("lower", "lower", "certified accuracy at this effort"),
    "min_under_attack": ("upper", "upper", "stands under this attack at this effort; not a proof"),
    NEWLY_BROKEN: ("kept", "kept", "of what stands in the baseline, under this attack at this effort; not a proof"),
}
NAMES = tuple(_ENDS)
"""The conditions."""
