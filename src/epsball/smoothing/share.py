"""Lower bounds on the share of a class under noise, from how often it was counted among independent samples."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import betaincc, betaincinv, betaln

Counts = Int64[np.ndarray, " n"]
Shares = Float64[np.ndarray, " n"]

_SLACK = 1e-12
"""Relative error of the quantiles of the beta distribution in float64, taken off."""

_HALVINGS = 60


def fixed_bound(count: Counts, samples: Counts, alpha: float) -> Shares:
    """Return the exact one-sided lower bound after a number of samples that was fixed before.

    p = B(alpha; k, n - k + 1), B the quantile function of the beta distribution; 0 for k = 0.

    Parameters
    ----------
    count, samples
        k of n.
    alpha
        Probability, at most, that the bound exceeds the true share.

    References
    ----------
    Clopper and Pearson, Biometrika 26 (1934).

    Examples
    --------
    >>> fixed_bound(np.array([0, 90, 100]), np.array([100, 100, 100]), 0.001).round(4).tolist()
    [0.0, 0.7753, 0.9333]
    """
    p = betaincinv(np.maximum(count, 1), samples - count + 1, alpha)
    return np.where(count > 0, p * (1.0 - _SLACK), 0.0)


def sequence_bound(count: Counts, samples: Counts, alpha: float) -> Shares:
    """Return a lower bound that holds at all numbers of samples at once, so that one may stop when one likes.

    Against the true share p stands the mixture of all shares q in [p, 1], with the density of Beta(1/2, 1/2) cut to
    that interval. The likelihood ratio of the mixture after n samples with k counts,

        M_n(p) = B(k+1/2, n-k+1/2) S(p; k+1/2, n-k+1/2) / (p^k (1-p)^(n-k) B(1/2, 1/2) S(p; 1/2, 1/2)),

    B the beta function and S(p; a, b) the mass of Beta(a, b) above p, is a martingale of mean 1, which ever reaches
    1/alpha with probability at most alpha (Ville). The bound is the p with M_n(p) = 1/alpha: on (0, (k - 1/2) / n]
    M_n falls, since the density of the mixture over its mass above p is at most 1 / (2 sqrt(p) (1-p)), which
    is at most (k - n p) / (p (1-p)) there; so all smaller shares are excluded too.

    Parameters
    ----------
    count, samples
        k of n, at any n.
    alpha
        Probability, at most, that the bound ever exceeds the true share.

    References
    ----------
    Robbins, "Statistical methods related to the law of the iterated logarithm", 1970. Howard et al., "Time-uniform,
    nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021), one-sided mixtures. Voracek,
    "Treatment of statistical estimation problems in randomized smoothing for adversarial robustness", NeurIPS 2024.

    Examples
    --------
    >>> sequence_bound(np.array([0, 90, 100]), np.array([100, 100, 100]), 0.001).round(4).tolist()
    [0.0, 0.7363, 0.9225]
    """
    k, n = count.astype(np.float64), samples.astype(np.float64)
    # More than the roundings of the terms below can be, of which the beta function's logarithm is the largest.
    slack = 16.0 * np.finfo(np.float64).eps * (n + 1.0) * np.log(n + 2.0)
    wanted = -math.log(alpha) + slack
    low, high = np.zeros(len(k)), np.maximum(k - 0.5, 0.0) / np.maximum(n, 1.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        excluded = _log_evidence(middle, k, n) >= wanted
        low, high = np.where(excluded, middle, low), np.where(excluded, high, middle)
    return low * (1.0 - _SLACK)


def _log_evidence(p: Shares, k: Shares, n: Shares) -> Shares:
    """Return log M_n(p), -infinity for p = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mixture = betaln(k + 0.5, n - k + 0.5) + np.log(betaincc(k + 0.5, n - k + 0.5, p))
        prior = betaln(0.5, 0.5) + np.log(betaincc(0.5, 0.5, p))
        likelihood = k * np.log(p) + (n - k) * np.log1p(-p)
        return np.where(p > 0, mixture - prior - likelihood, -np.inf)


BOUNDS: dict[str, Callable[[Counts, Counts, float], Shares]] = {
    "sequence": sequence_bound,
    "fixed": fixed_bound,
}
"""The bounds by name."""
