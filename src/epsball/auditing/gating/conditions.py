"""What a gate asks, and how each condition is decided on the examples audited so far."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Bool

from epsball.errors import InputError
from epsball.interface import argument
from epsball.radius import parse_radius
from epsball.sequential import CountTest, Side

Column = Bool[np.ndarray, " n"]
Ends = Literal["lower", "upper"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """At least a share of all examples must have a property.

    Parameters
    ----------
    name
        The condition's option: ``"min_robust"``, ``"min_certified"``, ``"min_under_attack"``.
    share
        The least share, exact, in (0, 1].
    passes_on, fails_on
        Which end of what is known of an example counts for passing, and which for failing: the lower one, certified
        and right, or the upper one, right and not broken.
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
            If the share is not in (0, 1].
        """
        rule = "it is a share of the examples, in (0, 1], as in 0.9."
        try:
            exact = parse_radius(share)
        except InputError as error:
            raise InputError(f"{argument(name)} is {share!r}; {rule}") from error
        if not 0 < exact <= 1:
            raise InputError(f"{argument(name)} is {share}; {rule}")
        passes_on, fails_on, meaning = _ENDS[name]
        return cls(name=name, share=exact, passes_on=passes_on, fails_on=fails_on, meaning=meaning)

    def threshold(self, total: int) -> int:
        """Return the least count of all examples that meets the share: its integer ceiling."""
        return math.ceil(self.share * total)

    def answer(self, lower: int, upper: int, drawn: int, total: int, *, alpha: float, conditions: int) -> Side | None:
        """Return what the examples drawn so far say of all of them, or None.

        Parameters
        ----------
        lower, upper
            How many of them are certified and right, and right and not broken.
        drawn, total
            How many were drawn, at random, of how many.
        alpha, conditions
            Probability of ever passing wrongly; of failing wrongly it is alpha over the number of conditions, since a
            gate passes where all of them pass, and fails where one fails.
        """
        count = {"lower": lower, "upper": upper}
        options = {
            "total": total,
            "threshold": self.threshold(total),
            "alpha": alpha,
            "alpha_below": alpha / conditions,
        }
        test = CountTest(**options)
        if test.answer(count[self.passes_on], drawn) == "at least":
            return "at least"
        return "below" if test.answer(count[self.fails_on], drawn) == "below" else None


_ENDS: dict[str, tuple[Ends, Ends, str]] = {
    "min_robust": ("lower", "upper", "robust accuracy, proved from both sides"),
    "min_certified": ("lower", "lower", "certified accuracy at this effort"),
    "min_under_attack": ("upper", "upper", "stands under this attack at this effort; not a proof"),
}
NAMES = tuple(_ENDS)
"""The conditions."""
