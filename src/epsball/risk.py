"""Natural, boundary and robust risk as functions of verdict columns (17.3.1), and the quantities of 17.6.1.

With the 0-1 loss, robust risk = natural risk + boundary risk, where the boundary risk is the
probability that an example is classified correctly but can be flipped inside its ball. An attack
bounds it from below, certificates from above.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from epsball import results
from epsball.errors import InputError
from epsball.statistics import Bound, Interval, clopper_pearson

if TYPE_CHECKING:
    import pyarrow


UNDECIDED = "no witness was found and no example is certified"
"""Why nothing is known of a robust risk."""


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """Bounds on the risk of a sample from both sides, with an interval for the risk of its distribution.

    Parameters
    ----------
    low, high
        The risk of the sample lies between them: exact shares of its examples.
    interval
        Exact confidence interval of the risk of the distribution: from the lower Clopper-Pearson
        limit of `low` to the upper one of `high`.

    Examples
    --------
    >>> print(Bracket.of_counts(low=2, high=5, n=10))
    0.2000..0.5000 [0.0252, 0.8129]
    """

    low: float
    high: float
    interval: Interval

    @classmethod
    def of_counts(cls, low: int, high: int, n: int, confidence: float = 0.95) -> "Bracket":
        """Return the bracket of at least `low` and at most `high` errors in `n` examples."""
        return cls.of_sides((low, n), (high, n), confidence)

    @classmethod
    def of_sides(cls, low: tuple[int, int], high: tuple[int, int], confidence: float = 0.95) -> "Bracket":
        """Return the bracket of at least `low` errors and at most `high`, each given as (errors, examples).

        Both sides may come from different numbers of examples of one source. If the upper side then
        happens to fall below the lower one, it is raised to it.
        """
        bottom, top = clopper_pearson(*low, confidence).low, clopper_pearson(*high, confidence).high
        share = low[0] / low[1]
        return cls(low=share, high=max(share, high[0] / high[1]), interval=Interval(bottom, max(bottom, top)))

    def __str__(self) -> str:
        value = f"{self.low:.4f}" if self.low == self.high else f"{self.low:.4f}..{self.high:.4f}"
        return f"{value} {self.interval}"


@dataclass(frozen=True, kw_only=True, repr=False)
class RiskDecomposition(results.Result):
    """Natural risk + boundary risk = robust risk, each as a bracket.

    The lower ends add up exactly, and so do the upper ends.

    Examples
    --------
    >>> correct, broken = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    >>> found = decompose(correct, broken)
    >>> found.natural.low + found.boundary.low == found.robust.low
    True
    """

    natural: Bracket
    boundary: Bracket
    robust: Bracket

    def __str__(self) -> str:
        rows = [(name, self._said(name)) for name in ("natural", "boundary", "robust")]
        return results.text_table(("risk", "low..high [95% interval]"), rows)

    def _said(self, name: str) -> str:
        bracket: Bracket = getattr(self, name)
        if not bracket.interval.is_trivial:
            return str(bracket)
        none = "the model gave no verdict on any example"
        return f"{bracket}: nothing is known, {none if self.natural.interval.is_trivial else UNDECIDED}"

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per risk: both ends on the sample, and the interval for the distribution."""
        names = ("natural", "boundary", "robust")
        brackets = [getattr(self, name) for name in names]
        return results.arrow_table(
            {
                "risk": list(names),
                "low": [bracket.low for bracket in brackets],
                "high": [bracket.high for bracket in brackets],
                "interval.low": [bracket.interval.low for bracket in brackets],
                "interval.high": [bracket.interval.high for bracket in brackets],
            }
        )

    def to_json(self) -> dict[str, object]:
        """Return the three brackets as JSON's types."""
        return results.jsonable(self)


def natural_accuracy(correct: Bool[Tensor, " n"], failed: Bool[Tensor, " n"]) -> Bound:
    """Return natural accuracy as an upper end: an example without a verdict counts for it.

    Parameters
    ----------
    correct
        Whether the example itself is classified correctly (margin > 0).
    failed
        Whether the model gave no verdict at the example itself: the interval covers both cases.

    Examples
    --------
    >>> print(natural_accuracy(torch.tensor([True, True, False, False]), torch.tensor([False, False, False, True])))
    0.7500 [0.0676, 0.9937]
    """
    low, high, n = int(correct.sum()), int((correct | failed).sum()), len(correct)
    interval = Interval(clopper_pearson(low, n).low, clopper_pearson(high, n).high)
    return Bound(value=high / n, interval=interval, scope="distribution")


def decompose(
    correct: Bool[Tensor, " n"],
    broken: Bool[Tensor, " n"],
    certified: Bool[Tensor, " n"] | None = None,
    failed: Bool[Tensor, " n"] | None = None,
    confidence: float = 0.95,
) -> RiskDecomposition:
    """Return the risk decomposition of verdict columns.

    R_rob = R_nat + R_bdy with R_bdy = P(correct at x and flippable in N(x)).

    Parameters
    ----------
    correct
        Whether the example itself is classified correctly (margin > 0).
    broken
        Whether a witness is known (its values for misclassified examples do not matter).
    certified
        Whether a certificate says that no witness exists; None if there are no certificates.
    failed
        Whether the model gave no verdict at the example itself: it may be an error or not.
    confidence
        The confidence of the exact intervals.

    Raises
    ------
    InputError
        If the columns differ in length, are empty, or an example is both broken and certified.

    References
    ----------
    Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML
    2019, section 3 (eq. (1)).

    Examples
    --------
    >>> correct, broken = torch.tensor([True, True, True, False]), torch.tensor([True, False, False, False])
    >>> certified = torch.tensor([False, True, False, False])
    >>> print(decompose(correct, broken, certified).robust)
    0.5000..0.7500 [0.0676, 0.9937]
    """
    certified = torch.zeros_like(correct) if certified is None else certified
    failed = torch.zeros_like(correct) if failed is None else failed
    lengths = [len(column) for column in (correct, broken, certified, failed)]
    if len(set(lengths)) != 1 or lengths[0] == 0:
        raise InputError(f"the verdict columns have lengths {lengths}; give columns of one length, at least 1.")
    if bool((broken & certified & correct).any()):
        raise InputError("an example is both broken and certified; one of the two verdicts is wrong.")
    n = len(correct)
    correct = correct & ~failed
    wrong = ~correct & ~failed
    natural = int(wrong.sum()), int((wrong | failed).sum())
    boundary = int((correct & broken).sum()), int((correct & ~certified).sum())
    robust = natural[0] + boundary[0], natural[1] + boundary[1]
    parts = {"natural": natural, "boundary": boundary, "robust": robust}
    return RiskDecomposition(
        **{name: Bracket.of_counts(low, high, n, confidence) for name, (low, high) in parts.items()}
    )


UNKNOWN = Interval(0.0, 1.0)
"""The interval of an unknown risk."""

NO_BOUND = "the data give no bound for their source"
"""Why nothing is known of an optimal risk."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Quantities(results.Result):
    """The three quantities of 17.6.1 as intervals, bounded from both sides.

    An attack bounds a robust risk from below, a certificate from above. The difference of two
    attack bounds is not a bound, so without a certificate the intervals reach the trivial ends.

    Parameters
    ----------
    gap
        Generalisation gap: robust risk of the distribution minus that of the training data.
    excess
        Robust risk of the distribution minus the optimal risk: at least the excess over the class.
    optimal
        Optimal risk of the distribution, over all measurable classifiers.

    Examples
    --------
    >>> print(Quantities(gap=Interval(0.0, 0.1), excess=Interval(0.0, 0.3), optimal=UNKNOWN))
    quantity  interval
    --------  ---------------------------------------------------------------------------
    gap       [0.0000, 0.1000]
    excess    [0.0000, 0.3000]
    optimal   [0.0000, 1.0000]: nothing is known, the data give no bound for their source
    """

    gap: Interval
    excess: Interval
    optimal: Interval

    def __str__(self) -> str:
        unknown = {"excess": "no example is certified, and the optimal risk may be 0", "optimal": NO_BOUND}
        gap = ": nothing is known, the training data and the others may have any risk"
        rows = [("gap", f"{self.gap}{gap if (self.gap.low, self.gap.high) == (-1.0, 1.0) else ''}")]
        for name, reason in unknown.items():
            interval: Interval = getattr(self, name)
            rows.append((name, f"{interval}: nothing is known, {reason}" if interval.is_trivial else str(interval)))
        return results.text_table(("quantity", "interval"), rows)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per quantity, with both ends."""
        names = ("gap", "excess", "optimal")
        ends = [getattr(self, name) for name in names]
        columns = {"low": [end.low for end in ends], "high": [end.high for end in ends]}
        return results.arrow_table({"quantity": list(names), **columns})

    def to_json(self) -> dict[str, object]:
        """Return the three intervals as JSON's types."""
        return results.jsonable(self)


def three_quantities(train: Bracket, test: Bracket, optimal: Interval = UNKNOWN) -> Quantities:
    """Return generalisation gap, excess risk and optimal risk (17.6.1 of the chapter).

    gap    in [test.low - train.high, test.high - train.low]
    excess in [max(0, test.low - optimal.high), test.high - optimal.low]

    with the ends of the brackets' confidence intervals. All hold together with confidence 1 minus
    the sum of the three errors (Bonferroni).

    Parameters
    ----------
    train, test
        Robust risk measured on training examples, and on other examples of the same source.
    optimal
        An interval for the optimal risk of the distribution (`epsball.limits`). No classifier has a
        lower risk, so it is at most the classifier's own robust risk.

    Examples
    --------
    >>> train, test = Bracket.of_counts(200, 300, 1000), Bracket.of_counts(400, 500, 1000)
    >>> print(three_quantities(train, test).gap)
    [0.0400, 0.3558]
    """
    low, high = test.interval.low, test.interval.high
    best = Interval(min(optimal.low, high), min(optimal.high, high))
    return Quantities(
        gap=Interval(low - train.interval.high, high - train.interval.low),
        excess=Interval(max(0.0, low - best.high), high - best.low),
        optimal=best,
    )


def adversarial_cross_entropy(margin: Float64[np.ndarray, " n"]) -> float:
    """Return a lower bound of a classifier's adversarial cross-entropy, in nats, from margins under attack.

    At a point of margin m = z_y - max_{j != y} z_j the cross-entropy is at least ln(1 + exp(-m)), with
    equality for two classes; the adversary does at least as well as the attack. NaN (no margin) counts as 0.

    Parameters
    ----------
    margin
        (n,) the least known margin in each example's ball.

    Examples
    --------
    >>> round(adversarial_cross_entropy(np.array([0.0, np.inf])), 6)  # ln(2) / 2
    0.346574
    """
    return float(np.mean(np.logaddexp(0.0, -np.nan_to_num(margin, nan=np.inf, posinf=np.inf, neginf=-np.inf))))
