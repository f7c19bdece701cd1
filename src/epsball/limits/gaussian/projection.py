"""The adversary's best shift: the point of a ball that is nearest in the metric of a covariance.

Each solver returns z = argmin ||m - z||_{Sigma^-1} over ||z|| <= eps, and a multiple of
w = Sigma^-1 (m - z). They prove each other: for any z in the ball ||m - z|| is an upper end of the
least distance, and for any w (w·m - eps ||w||_*) / sqrt(w·Sigma w) is a lower end.
"""

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " d"]
Matrix = Float[np.ndarray, "d d"]
Pair = Float[np.ndarray, "2 d"]

_STEPS = 300
# Below this share of m the ball is a point up to rounding: z = 0 lies in it, and the gap stays below 1e-15.
_NEGLIGIBLE = 1e-30
_COMPLEMENTARITY = 1e-22
_TO_BOUNDARY = 0.995
_SIGNS = np.array([[-1.0], [1.0]])


def nearest_l2(m: Vector, covariance: Matrix, eps: float) -> tuple[Vector, Vector]:
    """Return z and w for the Euclidean ball.

    z = (I + lambda Sigma)^-1 m and w = z with ||z||_2 = eps: Newton on the concave function
    1/||z(lambda)|| - 1/eps, which rises to its root from the left.

    References
    ----------
    Moré and Sorensen, "Computing a trust region step", SIAM J. Sci. Stat. Comput. 4 (1983).
    """
    if np.linalg.norm(m) <= eps:
        return m, np.zeros_like(m)
    if eps <= _NEGLIGIBLE * np.abs(m).max():
        return np.zeros_like(m), np.linalg.solve(covariance, m)
    eigenvalues, basis = np.linalg.eigh(covariance)
    rotated, multiplier = basis.T @ m, 0.0
    z = rotated
    for _ in range(_STEPS):
        length = np.linalg.norm(z)
        slope = (z**2 * eigenvalues / (1.0 + multiplier * eigenvalues)).sum() / length**2
        step = (length / eps - 1.0) / slope
        if multiplier + step <= multiplier:
            break
        multiplier += step
        z = rotated / (1.0 + multiplier * eigenvalues)
    return basis @ (z * min(1.0, eps / np.linalg.norm(z))), basis @ z


def nearest_linf(m: Vector, covariance: Matrix, eps: float) -> tuple[Vector, Vector]:
    """Return z and w for the box of half width eps.

    Mehrotra's predictor and corrector on z + Sigma w = m with w = p_0 - p_1, the slacks
    s_0 = eps - z and s_1 = eps + z, and p s = 0, all nonnegative; in units where eps and the mean
    variance are 1. Sigma is never inverted.

    References
    ----------
    Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 2 (1992).
    """
    if np.abs(m).max() <= eps:
        return m, np.zeros_like(m)
    if eps <= _NEGLIGIBLE * np.abs(m).max():
        return np.zeros_like(m), np.linalg.solve(covariance, m)
    sigma, centre = covariance / np.diag(covariance).mean(), m / eps
    z, s = np.zeros_like(m), np.ones((2, len(m)))
    p = np.full_like(s, np.abs(centre).max())
    for _ in range(_STEPS):
        gap = (p * s).mean()
        if gap < _COMPLEMENTARITY:
            break
        residual = centre - z - sigma @ (p[0] - p[1])
        ds, dp = _newton_step(sigma, residual, s, p, -p * s)
        t = _step_length(ds / s, dp / p, 1.0)
        predicted = ((s + t * ds) * (p + t * dp)).mean()
        ds, dp = _newton_step(sigma, residual, s, p, predicted**3 / gap**2 - p * s - ds * dp)
        t = _step_length(ds / s, dp / p, _TO_BOUNDARY)
        z, s, p = z + t * ds[1], s + t * ds, p + t * dp
    return np.clip(eps * z, -eps, eps), p[0] - p[1]


def _newton_step(sigma: Matrix, residual: Vector, s: Pair, p: Pair, change: Pair) -> tuple[Pair, Pair]:
    """Solve p ds + s dp = change and dz + Sigma (dp_0 - dp_1) = residual, with ds = (-dz, dz), for ds, dp."""
    curvature = (p / s).sum(axis=0)
    drift = -(_SIGNS * change / s).sum(axis=0)
    dw = np.linalg.solve(sigma + np.diag(1.0 / curvature), residual + drift / curvature)
    ds = _SIGNS * (dw - drift) / curvature
    return ds, (change - p * ds) / s


def _step_length(ds: Pair, dp: Pair, fraction: float) -> float:
    """Return the longest step, at most 1, that goes at most this fraction of the way to the boundary."""
    return 1.0 / max(1.0, -ds.min() / fraction, -dp.min() / fraction)
