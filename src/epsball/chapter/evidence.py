"""How claims are decided: orders between paired columns, and values against intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from epsball.chapter.claim import Column, Decision, Tables
from epsball.paired import Discordance
from epsball.statistics import clopper_pearson

LEVEL = 0.05
"""Of every test."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """Two paired columns, of which the first is expected to be the greater.

    Parameters
    ----------
    greater, less
        Values of the same examples, in the same order; verdicts count as 0 and 1.
    names
        What they are, in the sentence.
    """

    greater: Column
    less: Column
    names: tuple[str, str]

    @property
    def test(self) -> Discordance:
        """The sign test, which of 0 and 1 is McNemar's: on how many examples either column is the greater."""
        greater, less = (np.asarray(column, dtype=np.float64) for column in (self.greater, self.less))
        return Discordance.of(greater > less, less > greater)

    @property
    def failure(self) -> str:
        """Why it does not hold, as a sentence."""
        test, (first, second) = self.test, self.names
        if test.p <= LEVEL:
            return f"The other way round: {first} is the lower one."
        many = test.only_a + test.only_b
        return f"At 5% the {many} of {test.total} examples that differ do not tell {first} from {second}."

    @property
    def holds(self) -> bool:
        """Whether the first is the greater by an exact two-sided test."""
        test = self.test
        return test.only_a > test.only_b and test.p <= LEVEL

    def __str__(self) -> str:
        """Return means, discordant examples and p."""
        (first, second), test = self.names, self.test
        means = (float(np.mean(np.asarray(column, dtype=np.float64))) for column in (self.greater, self.less))
        p = f"p = {test.p:.2g}" if test.p > 0 else "p < 1e-300"
        return (
            f"{first} {next(means):.3g}, {second} {next(means):.3g} "
            f"(greater on {test.only_a}, less on {test.only_b} of {test.total}; {p})"
        )


def pattern(*orders: Order, otherwise: str) -> Decision:
    """Decide by orders: *pattern* if all hold.

    Parameters
    ----------
    orders
        What was expected beforehand.
    otherwise
        Why it may be that one does not hold; which does not, and how, is said before it.
    """
    sentence = "; ".join(map(str, orders))
    failures = [order.failure for order in orders if not order.holds]
    if not failures:
        return Decision(verdict="pattern", sentence=f"{sentence}.")
    return Decision(verdict="differs", sentence=" ".join([f"{sentence}.", *failures, otherwise]))


def without_exception(exceptions: Sequence[object], total: int, law: str) -> Decision:
    """Decide a law by its exceptions among `total` cases: *reproduced* if there is none."""
    if not total:
        return Decision(verdict="not measured", sentence=f"{law}: there was no case to look at.")
    found = f"{law}: {len(exceptions)} exceptions in {total} cases"
    return Decision(
        verdict="differs" if len(exceptions) else "reproduced",
        sentence=f"{found}, the first {exceptions[0]}." if len(exceptions) else f"{found}.",
    )


def share(column: Column) -> str:
    """Return the share of a 0-1 column with its exact 95% interval, as text."""
    count, total = int(np.sum(np.asarray(column, dtype=bool))), len(column)
    return f"{count / total:.3f} {clopper_pearson(count, total)}"


def by_rows(table: str, columns: Sequence[str], decide: Callable[..., Decision]) -> Callable[[Tables], Decision]:
    """Return a decision from some columns of one table."""
    return lambda tables: decide(*(tables[table][column] for column in columns))
