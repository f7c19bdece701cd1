"""Optimal adversarial risk of two Gaussian classes in d dimensions that share a covariance."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int64

from epsball.errors import InputError, nearest
from epsball.limits.gaussian.projection import Vector, nearest_l2, nearest_linf
from epsball.limits.gaussian.univariate import (
    IntervalRule,
    Optimum,
    UnivariateGaussian,
    check_priors,
    check_radius,
)

GaussianNorm = Literal["l2", "linf"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearRule:
    """The classifier that applies an interval rule to w·x.

    Examples
    --------
    >>> rule = LinearRule(direction=np.array([1.0, -1.0]), rule=IntervalRule(low=0.0))
    >>> rule(np.array([[2.0, 1.0], [1.0, 2.0]])).tolist()
    [1, 0]
    """

    direction: Vector
    rule: IntervalRule

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Int64[np.ndarray, " n"]:
        """Return the class, 0 or 1, of each point."""
        return self.rule(x @ self.direction)


@dataclass(frozen=True, kw_only=True, eq=False)
class MultivariateGaussian:
    """The classes X | Y = k ~ N(mu_k, Sigma) with P(Y = k) = pi_k, k in {0, 1}.

    Parameters
    ----------
    means
        (2, d): mu_0 and mu_1.
    covariance
        (d, d): Sigma, symmetric and positive definite, shared by the classes (without a shared
        covariance no closed form is known for d > 1).
    priors
        (pi_0, pi_1), positive, of sum 1.

    Raises
    ------
    InputError
        If a parameter breaks its rule.

    Examples
    --------
    >>> model = MultivariateGaussian(means=np.array([[0.0, 0.0], [2.0, 0.0]]), covariance=np.eye(2))
    >>> model.optimum("linf", 0.5).rule.direction.tolist()
    [1.0, 0.0]
    """

    means: Float[np.ndarray, "classes d"]
    covariance: Float[np.ndarray, "rows columns"]
    priors: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        check_priors(self.priors)
        d = self.means.shape[-1]
        if self.means.shape != (2, d) or self.covariance.shape != (d, d) or d == 0:
            raise InputError(
                f"means have shape {self.means.shape} and the covariance {self.covariance.shape}; "
                "they must be (2, d) and (d, d)."
            )
        if not (np.isfinite(self.means).all() and np.isfinite(self.covariance).all()):
            raise InputError("means or covariance hold NaN or infinity; all entries must be finite.")
        asymmetry = np.abs(self.covariance - self.covariance.T).max()
        if asymmetry > 1e-12 * np.abs(self.covariance).max():
            raise InputError(f"the covariance differs from its transpose by {asymmetry:.3g}; make it symmetric.")
        eigenvalues = np.linalg.eigvalsh(self.covariance)
        smallest, largest = eigenvalues[0], eigenvalues[-1]
        if smallest <= d * np.finfo(np.float64).eps * largest:
            raise InputError(
                f"the covariance has eigenvalues from {smallest:.3g} to {largest:.3g}; it must be positive "
                "definite in float64. Add a little to its diagonal."
            )

    def along(self, direction: Vector) -> UnivariateGaussian:
        """Return the model of w·X: means w·mu_k, variances w·Sigma w."""
        mu0, mu1 = (self.means @ direction).tolist()
        variance = float(direction @ self.covariance @ direction)
        return UnivariateGaussian(means=(mu0, mu1), variances=(variance, variance), priors=self.priors)

    def risk(self, rule: LinearRule, norm: GaussianNorm, radius: float) -> float:
        """Return the adversarial risk of a linear rule: w·x moves by at most radius * dual norm of w."""
        return self.along(rule.direction).risk(rule.rule, radius * _dual_norm(rule.direction, norm))

    def optimum(self, norm: GaussianNorm, radius: float) -> Optimum:
        """Return an optimal rule among all measurable ones, and a bracket of its risk L*(eps).

        With m = (mu_1 - mu_0)/2 and z* = argmin ||m - z||_{Sigma^-1} over ||z|| <= eps, the adversary
        moves class 0 by z* and class 1 by -z*; the Bayes rule of the moved classes, w = Sigma^-1 (m - z*),
        has no larger risk against any other adversary. For equal priors
        L* = Phi(-||m - z*||_{Sigma^-1}); otherwise the threshold of the rule moves too.

        Any z in the ball gives a lower end of L* and any w an upper end (Lagrangian duality); the two
        ends returned differ by the solver's gap, up to float64 rounding.

        Parameters
        ----------
        norm
            ``"l2"`` or ``"linf"``.
        radius
            eps >= 0, in the units of x.

        References
        ----------
        Bhagoji, Cullina and Mittal, "Lower bounds on adversarial robustness from optimal transport",
        NeurIPS 2019 (equal priors). Dobriban, Hassani, Hong and Robey, "Provable tradeoffs in
        adversarially robust classification", arXiv:2006.05161 (unequal priors too).
        """
        check_radius(radius)
        nearest_shift = _lookup(_NEAREST, norm)
        m = (self.means[1] - self.means[0]) / 2.0
        z, w = nearest_shift(m, self.covariance, radius)
        # If the adversary can make the classes equal, the best rule is the same constant in every direction.
        w = w / np.abs(w).max() if w.any() else np.ones_like(w)
        upper = self.along(w).optimum(radius * _dual_norm(w, norm))
        distance = float(np.linalg.norm(np.linalg.solve(np.linalg.cholesky(self.covariance), m - z)))
        moved = UnivariateGaussian(means=(-distance, distance), priors=self.priors).optimum(0.0)
        rule = LinearRule(direction=w, rule=upper.rule)
        return Optimum(rule=rule, risk=upper.risk, lower=min(moved.risk, upper.risk))


_NEAREST = {"l2": nearest_l2, "linf": nearest_linf}
_DUAL_ORDER = {"l2": 2, "linf": 1}


def _dual_norm(w: Vector, norm: GaussianNorm) -> float:
    """Return max of w·z over the unit ball of `norm`."""
    return float(np.linalg.norm(w, ord=_lookup(_DUAL_ORDER, norm)))


def _lookup(table: dict[str, Any], norm: str) -> Any:
    """Return the entry of a norm, or raise `InputError`."""
    if norm not in table:
        raise InputError(f"norm is '{norm}'; the Gaussian model takes 'l2' or 'linf'.{nearest(norm, table)}")
    return table[norm]
