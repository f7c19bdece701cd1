"""What `optimal_risk` returns: a curve over the radii, class pairs, and which examples are given up."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int8

from epsball.ball import parse_radius
from epsball.errors import InputError
from epsball.limits.conflicts.problem import Problem
from epsball.limits.curve_figure import limit_figure
from epsball.limits.generalisation import SampleCurve, sample_curve_of
from epsball.limits.optimal_classifier import LeastFavourable, Losses, Optimum, least_favourable, losses, optimum
from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.statistics import Bound, Interval

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure

_EXACT = 1e-7


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The optimal adversarial risk at one radius.

    Parameters
    ----------
    radius
        Radius of the balls.
    risk
        L* of the sample over all classifiers, soft ones included: the value is a lower bound that
        holds in any case, the interval is what is proved on both sides.
    excess
        L*(radius) - L*(0), the part that the adversary is responsible for.
    stored
        L* counting only conflicts with a verified common point among floats (for 8-bit data:
        float32): the end of the chain for a deployed classifier.
    deterministic
        The best deterministic classifier's risk on the sample: at least `low`, and `high` is reached.
    distribution
        One-sided bound for the source of the sample, from the `stored` value.
    conflicts
        Pairs in conflict.
    doubtful
        Pairs of floats that rounding leaves undecided; they are not counted as conflicts.

    Examples
    --------
    >>> from epsball.limits import optimal_risk
    >>> limit = optimal_risk(np.array([[0.0], [2.0]]), np.array([0, 1]), radii=[1]).at(1)
    >>> limit.risk.value, limit.exact, limit.conflicts
    (0.5, True, 1)
    """

    radius: Fraction
    risk: Bound
    excess: float
    stored: float
    deterministic: Interval
    distribution: Bound
    conflicts: int
    doubtful: int

    @property
    def exact(self) -> bool:
        """Whether both sides of `risk` agree to 1e-7 and no pair is undecided."""
        interval = self.risk.interval
        return interval is not None and interval.high - interval.low <= _EXACT and self.doubtful == 0


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class OptimalRisk(Result):
    """The limit that the data impose on every classifier.

    Parameters
    ----------
    norm
        linf, l2, l1, or the name of the caller's rule.
    classes
        The labels, in the order of `pairs`.
    curve
        One `Limit` per radius.
    pairs
        (k, C, C) optimal risk of each two classes on their own; diagonal 0.
    hard
        (k, n) per example, in the order of the data: 0 safe (kept by every optimal classifier),
        1 either (kept by some), 2 given up (by every one).
    scope
        What the numbers are about.
    problem
        The sample and its conflicts, from which the methods compute.
    interrupted
        Whether the computation was interrupted: the radii finished before, as the exception's `partial`.

    Examples
    --------
    >>> from epsball.limits import optimal_risk
    >>> risk = optimal_risk(np.array([[0.0], [2.0], [9.0]]), np.array([0, 1, 1]), radii=["0.9", 1])
    >>> risk.hard.tolist()
    [[0, 0, 0], [1, 1, 0]]
    >>> risk.optimum(1).coupling.tolist()
    [[0, 1]]
    """

    norm: str
    classes: tuple[int, ...]
    curve: tuple[Limit, ...]
    pairs: Float64[np.ndarray, "k c c"]
    hard: Int8[np.ndarray, "k n"]
    scope: str
    problem: Problem = field(repr=False)
    interrupted: bool = False

    @property
    def radii(self) -> tuple[Fraction, ...]:
        """The radii of the curve."""
        return tuple(limit.radius for limit in self.curve)

    def at(self, radius: Any) -> Limit:
        """Return the limit at one of the radii."""
        return self.curve[self.position(radius)]

    def position(self, radius: Any) -> int:
        """Return the position of a radius in the curve, or raise `InputError`."""
        wanted = parse_radius(radius)
        if wanted not in self.radii:
            known = ", ".join(f"{float(r):g}" for r in self.radii)
            raise InputError(f"radius {radius} is not on the curve; it was computed at {known}.")
        return self.radii.index(wanted)

    def optimum(self, radius: Any) -> Optimum:
        """Return an optimal classifier, the coupling and the cover at one of the radii."""
        return optimum(self.problem, self.at(radius).radius)

    def least_favourable(self, radius: Any) -> LeastFavourable:
        """Return the pair of distributions that is hardest to tell apart (two classes)."""
        return least_favourable(self.problem, self.at(radius).radius)

    def losses(self) -> Losses:
        """Return the least cross-entropy and Brier score over the radii (more than two classes: over pairs)."""
        return losses(self.problem.sample, self.problem.exact, self.radii)

    def sample_curve(self, *, seed: int = 0) -> SampleCurve:
        """Return L* at n/4, n/2 and n, with a warning where it still rises (more classes: pairs only)."""
        return sample_curve_of(self.problem, self.radii, seed=seed)

    def __str__(self) -> str:
        header = [
            "radius",
            "L*",
            "up to",
            "L* - L*(0)",
            "stored",
            "distribution",
            "given up",
            "either",
            "conflicts",
        ]
        rows = [
            [
                f"{float(limit.radius):g}",
                limit.risk.value,
                None if limit.exact else _high(limit.risk),
                limit.excess,
                limit.stored,
                _low(limit.distribution),
                int((column == 2).sum()),
                int((column == 1).sum()),
                limit.conflicts,
            ]
            for limit, column in zip(self.curve, self.hard, strict=True)
        ]
        lines = [self.scope, text_table(header, rows)]
        if self.interrupted:
            lines.append(
                f"interrupted: what follows radius {float(self.radii[-1]):g}, and the class pairs, are missing"
            )
        if any(_low(limit.distribution) <= 0 for limit in self.curve):
            lines.append("where distribution is 0 nothing is known of the source: the risk of the sample is too small")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the result made of JSON's types, without `hard`."""
        curve = [jsonable(limit) | {"exact": limit.exact} for limit in self.curve]
        return jsonable(
            {
                "norm": self.norm,
                "classes": self.classes,
                "scope": self.scope,
                "curve": curve,
                "pairs": self.pairs,
                **({"interrupted": True} if self.interrupted else {}),
            }
        )

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per radius."""
        return arrow_table(
            {
                "radius": [float(limit.radius) for limit in self.curve],
                "risk": [limit.risk.value for limit in self.curve],
                "risk.low": [_low(limit.risk) for limit in self.curve],
                "risk.high": [_high(limit.risk) for limit in self.curve],
                "exact": [limit.exact for limit in self.curve],
                "excess": [limit.excess for limit in self.curve],
                "stored": [limit.stored for limit in self.curve],
                "deterministic.low": [limit.deterministic.low for limit in self.curve],
                "deterministic.high": [limit.deterministic.high for limit in self.curve],
                "distribution.low": [_low(limit.distribution) for limit in self.curve],
                "conflicts": [limit.conflicts for limit in self.curve],
                "doubtful": [limit.doubtful for limit in self.curve],
                "given_up": (self.hard == 2).sum(axis=1),
                "either": (self.hard == 1).sum(axis=1),
            }
        )

    def plot(self) -> "Figure":
        """Draw L* at the radii computed, what lies between them, and the bound for the distribution below it."""
        return limit_figure(
            np.array([float(limit.radius) for limit in self.curve]),
            np.array([limit.risk.value for limit in self.curve]),
            np.array([_high(limit.risk) for limit in self.curve]),
            np.array([_low(limit.distribution) for limit in self.curve]),
            zero=self.curve[0].risk.value - self.curve[0].excess,
            norm=self.norm,
            examples=self.hard.shape[1],
        )


def _low(bound: Bound) -> float:
    return bound.interval.low if bound.interval else bound.value


def _high(bound: Bound) -> float:
    return bound.interval.high if bound.interval else bound.value
