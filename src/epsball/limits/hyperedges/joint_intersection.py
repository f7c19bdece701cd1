"""Exact answers, or rigorous ones, for the sets of balls that the compiled search leaves undecided."""

from fractions import Fraction
from itertools import combinations

import numpy as np

from epsball.ball import NormName
from epsball.limits.conflicts.sample import Sample
from epsball.limits.hyperedges.cliques import enclosing_ball


def decide(data: Sample, norm: NormName, radius: Fraction, members: np.ndarray) -> bool | None:
    """Return whether the balls around the examples share a point, or None if that stays open.

    Parameters
    ----------
    data
        The sample.
    norm
        linf; l2 (exact for integer data); l1 (four points and more by a linear program and bounds).
    radius
        Radius of the balls.
    members
        Sorted positions of pairwise conflicting examples.
    """
    if norm == "linf" or len(members) < 3 or (norm == "l1" and len(members) == 3):
        return True
    if data.scale is None and norm == "l2":
        return None
    points = data.rows(members).astype(np.float64)
    units = data.scale or 1
    if norm == "l2":
        return _enclosed(points.astype(np.int64), (radius * units) ** 2)
    return _l1(points, float(radius * units))


def _enclosed(points: np.ndarray, square: Fraction) -> bool:
    """Return whether integer points lie in a closed ball of squared radius `square`, in fractions.

    The smallest ball is that of some affinely independent subset, whose weights w solve
    D w = mu 1, sum w = 1; it is right if w >= 0 and no other point lies farther from the centre.
    """
    gaps = points[:, None, :] - points[None, :, :]
    D = [[Fraction(int(entry)) for entry in row] for row in (gaps**2).sum(axis=2)]
    everyone = range(len(points))
    for size in range(1, len(points) + 1):
        for support in combinations(everyone, size):
            w = _equidistant([[D[i][j] for j in support] for i in support])
            if w is None or min(w) < 0:
                continue
            reach = [sum(D[i][j] * wj for j, wj in zip(support, w, strict=True)) for i in everyone]
            value = sum(wi * reach[i] for i, wi in zip(support, w, strict=True)) / 2
            if max(reach) - value <= value:
                return value <= square
    raise ArithmeticError("a finite set of points has a smallest enclosing ball")


def _equidistant(D: list[list[Fraction]]) -> list[Fraction] | None:
    """Return w with D w constant and sum w = 1, or None where the system is singular."""
    k = len(D)
    rows = [[*D[i], Fraction(-1), Fraction(0)] for i in range(k)]
    rows.append([*[Fraction(1)] * k, Fraction(0), Fraction(1)])
    for i in range(k + 1):
        pivot = next((r for r in range(i, k + 1) if rows[r][i] != 0), None)
        if pivot is None:
            return None
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for r in range(k + 1):
            if r != i and rows[r][i] != 0:
                factor = rows[r][i]
                rows[r] = [entry - factor * lead for entry, lead in zip(rows[r], rows[i], strict=True)]
    return [rows[i][-1] for i in range(k)]


def _l1(points: np.ndarray, radius: float) -> bool | None:
    """Return whether l1 balls share a point: a centre within reach of all proves it, weights can refute it.

    min_c max_i |c - x_i|_1 lies between sum_p min_t sum_i w_i |t - x_ip|, for any weights w on the
    simplex, and max_i |c - x_i|_1 for any c; the linear program proposes both c and w.
    """
    c, w = _l1_centre(points)
    margin = (points.size + 8) * 2.0**-52 * float(np.abs(points).sum())
    if float(np.abs(points - c).sum(axis=1).max()) + margin <= radius:
        return True
    w = np.clip(w, 0.0, None) / max(float(np.clip(w, 0.0, None).sum()), 2.0**-1000)
    costs = np.abs(points[:, None, :] - points[None, :, :])
    least = np.einsum("j,ijp->ip", w, costs).min(axis=0)  # a weighted median is one of the points
    return False if float(least.sum()) - margin > radius else None


def _l1_centre(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a centre c and the multipliers of min rho: |c_p - x_ip| <= e_ip, sum_p e_ip <= rho."""
    from scipy.optimize import linprog
    from scipy.sparse import block_array, csr_array, eye_array, kron

    k, d = points.shape
    ones = csr_array(np.ones((k, 1)))
    shift = kron(ones, eye_array(d))
    sums = kron(eye_array(k), csr_array(np.ones((1, d))))
    A = block_array([[shift, -eye_array(k * d), None], [-shift, -eye_array(k * d), None], [None, sums, -ones]])
    b = np.concatenate([points.ravel(), -points.ravel(), np.zeros(k)])
    cost = np.zeros(d + k * d + 1)
    cost[-1] = 1.0
    solved = linprog(cost, A_ub=A.tocsr(), b_ub=b, bounds=(None, None), method="highs")
    if solved.x is None:
        return np.median(points, axis=0), np.full(k, 1.0 / k)
    return solved.x[:d], -np.asarray(solved.ineqlin.marginals)[-k:]


def surely_share_float(data: Sample, norm: NormName, radius: Fraction, members: np.ndarray) -> bool:
    """Return whether the stored balls surely share a float, with room for every rounding.

    Rounded centres and a rounded common point move distances by at most 4 u m kappa, as for pairs.
    """
    loss = data.rounding_loss(norm)
    shrunk = radius - loss
    if shrunk < 0:
        return False
    points = data.rows(members).astype(np.float64)
    units = data.scale or 1
    if norm == "l1":
        pairwise = np.abs(points[:, None, :] - points[None, :, :]).sum(axis=2).max()
        return len(members) == 3 and bool(pairwise <= float(2 * shrunk * units) * (1.0 - 2.0**-30))
    gaps = points[:, None, :] - points[None, :, :]
    D = np.einsum("ijp,ijp->ij", gaps, gaps)
    slack = (data.dimension + 4) * 2.0**-52
    return enclosing_ball(D, len(members), float((shrunk * units) ** 2), slack) == 1
