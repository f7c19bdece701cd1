"""Optimal adversarial risk of two Gaussian classes on the line, for any radius, priors and variances."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.special import ndtr

from epsball.errors import InputError
from epsball.results import jsonable

LARGEST = 1e50
"""Up to this, squares and products of means, variances, their inverses and radii are finite."""


@dataclass(frozen=True, kw_only=True)
class IntervalRule:
    """The classifier with class `inside` on the interval (low, high) and the other class elsewhere.

    A threshold has one infinite end, a constant rule two.

    Examples
    --------
    >>> rule = IntervalRule(low=0.0)
    >>> rule(np.array([-1.0, 0.5])).tolist()
    [0, 1]
    >>> rule.errs(np.array([-1.0, 0.5]), y=1, radius=0.75).tolist()
    [True, True]
    """

    low: float = -math.inf
    high: float = math.inf
    inside: int = 1

    def __call__(self, x: Float[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Return the class, 0 or 1, of each point."""
        within = (self.low < x) & (x < self.high)
        return np.where(within, self.inside, 1 - self.inside).astype(np.int64)

    def errs(self, x: Float[np.ndarray, " n"], y: int, radius: float) -> Bool[np.ndarray, " n"]:
        """Return the points of class y at which an adversary of this radius finds an error."""
        reach = radius if y != self.inside else -radius
        within = (self.low - reach < x) & (x < self.high + reach)
        return within if y != self.inside else ~within

    def __str__(self) -> str:
        return f"class {self.inside} on ({self.low:.4g}, {self.high:.4g})"


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """An optimal rule, with a lower end of L* that proves it.

    Parameters
    ----------
    rule
        The classifier.
    risk
        Its adversarial risk: an upper end of the optimal risk L*.
    lower
        The Bayes risk against one strategy of the adversary: a lower end of L*. Equal to `risk`
        where the optimum has a closed form; otherwise they differ by the solver's duality gap.

    Examples
    --------
    >>> UnivariateGaussian(means=(0.0, 2.0)).optimum(1.5)
    Optimum(rule=IntervalRule(low=-inf, high=inf, inside=1), risk=0.5, lower=0.5)
    """

    rule: Any
    risk: float
    lower: float

    def to_json(self) -> dict[str, Any]:
        """Return the optimum made of JSON's types; infinite ends of an interval are null."""
        return jsonable(self)


@dataclass(frozen=True, kw_only=True)
class UnivariateGaussian:
    """The classes X | Y = k ~ N(mu_k, sigma_k^2) with P(Y = k) = pi_k, k in {0, 1}.

    Parameters
    ----------
    means
        (mu_0, mu_1), in any order.
    variances
        (sigma_0^2, sigma_1^2), positive.
    priors
        (pi_0, pi_1), positive, of sum 1.

    Raises
    ------
    InputError
        If a parameter breaks its rule.

    Examples
    --------
    >>> UnivariateGaussian(means=(0.0, 2.0)).optimum(0.5).risk
    0.3085375387259869
    """

    means: tuple[float, float]
    variances: tuple[float, float] = (1.0, 1.0)
    priors: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        check_priors(self.priors)
        if not all(abs(mean) <= LARGEST for mean in self.means):
            raise InputError(f"means are {self.means}; both must be finite, of size at most {LARGEST:g}.")
        if not all(1.0 / LARGEST <= variance <= LARGEST for variance in self.variances):
            raise InputError(
                f"variances are {self.variances}; both must lie between {1.0 / LARGEST:g} and {LARGEST:g}. "
                "Measure x in another unit."
            )

    def threshold_risk(self, t: Float[np.ndarray, " n"], radius: float) -> Float[np.ndarray, " n"]:
        """Return the adversarial risk of h_t(x) = 1[x > t], as a function of t.

        L(h_t) = pi_1 Phi((t + eps - mu_1) / sigma_1) + pi_0 (1 - Phi((t - eps - mu_0) / sigma_0)).
        Radius 0 gives the benign risk.
        """
        check_radius(radius)
        (mu0, mu1), (pi0, pi1), eps = self.means, self.priors, radius
        sigma0, sigma1 = map(math.sqrt, self.variances)
        return pi1 * ndtr((t + eps - mu1) / sigma1) + pi0 * ndtr(-(t - eps - mu0) / sigma0)

    def risk(self, rule: IntervalRule, radius: float) -> float:
        """Return the adversarial risk of any interval rule.

        The inside class k errs outside [low + eps, high - eps], the other one within
        [low - eps, high + eps].
        """
        check_radius(radius)
        k, eps = rule.inside, radius
        kept = self._mass(k, rule.low + eps, rule.high - eps)
        if rule.low + eps < rule.high - eps:
            lost = self._mass(k, -math.inf, rule.low + eps) + self._mass(k, rule.high - eps, math.inf)
        else:
            lost = 1.0 - kept
        return self.priors[k] * lost + self.priors[1 - k] * self._mass(1 - k, rule.low - eps, rule.high + eps)

    def optimum(self, radius: float) -> Optimum:
        """Return an optimal rule among all measurable ones, and its risk L*(eps).

        In an optimal rule two neighbouring boundaries are more than 2 eps apart (otherwise the piece
        between them protects no mass), so every boundary minimises the risk by itself. A local
        minimum is where ln pi_k f_k(t + eps) - ln pi_j f_j(t - eps), quadratic in t, crosses
        zero upwards (class j left of t, class k right of it): at most once for each direction. So an
        optimal rule has at most one boundary of each kind, and is one of six.

        For equal priors and variances L* = Phi(-((mu_1 - mu_0)/2 - eps)_+ / sigma): beyond half the
        gap the midpoint is a maximum of the risk, and a constant rule is optimal.
        """
        check_radius(radius)
        candidates = [
            IntervalRule(low=low, high=high, inside=k)
            for k in (1, 0)
            for low, high in product(
                (-math.inf, *self._boundary(1 - k, k, radius)), (math.inf, *self._boundary(k, 1 - k, radius))
            )
            if low < high
        ]
        risks = [self.risk(rule, radius) for rule in candidates]
        best = min(risks)
        return Optimum(rule=candidates[risks.index(best)], risk=best, lower=best)

    def _mass(self, k: int, low: float, high: float) -> float:
        """Return P(low < X < high | Y = k), computed on the side of the nearer tail."""
        a, b = ((end - self.means[k]) / math.sqrt(self.variances[k]) for end in (low, high))
        if a >= b:
            return 0.0
        return float(ndtr(-a) - ndtr(-b)) if a > 0 else float(ndtr(b) - ndtr(a))

    def _boundary(self, j: int, k: int, eps: float) -> tuple[float, ...]:
        """Return where the risk has a local minimum in a boundary from class j to class k, if it has one.

        With s = t - (mu_j + mu_k)/2 and h = (mu_k - mu_j)/2 - eps the log ratio is a s^2 + b s + c.
        The root is taken in the form without cancellation.
        """
        precision_j, precision_k = 1.0 / self.variances[j], 1.0 / self.variances[k]
        h = (self.means[k] - self.means[j]) / 2.0 - eps
        a = (precision_j - precision_k) / 2.0
        b = h * (precision_j + precision_k)
        c = a * h**2 + math.log(self.priors[k] / self.priors[j]) + math.log(precision_k / precision_j) / 2.0
        discriminant = b**2 - 4.0 * a * c
        if discriminant <= 0.0 or (a == 0.0 and b <= 0.0):
            return ()
        root = math.sqrt(discriminant)
        s = -2.0 * c / (b + root) if b >= 0.0 else (root - b) / (2.0 * a)
        return ((self.means[j] + self.means[k]) / 2.0 + s,)


def check_priors(priors: tuple[float, float]) -> None:
    """Raise unless the priors are positive and sum to 1."""
    if not (all(prior > 0.0 for prior in priors) and abs(sum(priors) - 1.0) <= 1e-12):
        raise InputError(f"priors are {priors} with sum {sum(priors)}; both must be positive, of sum 1.")


def check_radius(radius: float) -> None:
    """Raise unless the radius lies in [0, LARGEST]."""
    if not 0.0 <= radius <= LARGEST:
        raise InputError(f"radius is {radius}; it must be at least 0 and at most {LARGEST:g}.")
