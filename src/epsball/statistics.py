"""`Interval`, exact intervals for proportions, and `Bound`: a number with its interval and scope."""

from dataclasses import dataclass
from typing import Literal

from scipy.special import betaincinv

from epsball.checks import check_share
from epsball.errors import InputError

Scope = Literal["dataset", "distribution"]


@dataclass(frozen=True)
class Interval:
    """A closed interval [low, high].

    Examples
    --------
    >>> risk = Interval(0.125, 0.5)
    >>> 0.25 in risk
    True
    >>> print(risk.complement())
    [0.5000, 0.8750]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise InputError(f"the interval has low {self.low} > high {self.high}; swap them.")

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low:.4f}, {self.high:.4f}]"

    @property
    def is_trivial(self) -> bool:
        """Whether it holds for any proportion: nothing is known."""
        return self.low <= 0.0 and self.high >= 1.0

    def complement(self) -> "Interval":
        """Return the interval of 1 - p for p in this one."""
        return Interval(1.0 - self.high, 1.0 - self.low)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A value, an interval for what it estimates, and the scope of the statement.

    Parameters
    ----------
    value
        The number measured.
    interval
        A confidence interval (or a one-sided bound closed by the trivial end), or None.
    scope
        ``"dataset"``: about the examples given; ``"distribution"``: about their source.

    Examples
    --------
    >>> print(Bound(value=0.25, interval=Interval(0.2, 0.3), scope="distribution"))
    0.2500 [0.2000, 0.3000]
    """

    value: float
    interval: Interval | None = None
    scope: Scope = "dataset"

    def __str__(self) -> str:
        return f"{self.value:.4f}" + (f" {self.interval}" if self.interval else "")


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return the exact two-sided interval of a binomial proportion.

    low = B(alpha/2; k, n-k+1) and high = B(1-alpha/2; k+1, n-k), B the quantile function of the
    beta distribution, alpha = 1 - confidence.

    Parameters
    ----------
    successes, trials
        k of n, 0 <= k <= n, n >= 1.
    confidence
        Least coverage for every true proportion.

    Raises
    ------
    InputError
        If the counts or the confidence are out of range.

    References
    ----------
    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of
    the binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> print(clopper_pearson(9, 10))
    [0.5550, 0.9975]
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"{successes} successes of {trials} trials; need 0 <= k <= n and n >= 1.")
    check_share("confidence", confidence)
    tail = (1.0 - confidence) / 2.0
    k, n = successes, trials
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1.0 - tail))
    return Interval(low, high)
