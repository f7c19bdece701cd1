"""What multipliers prove: a lower bound that holds whatever they are, with every rounding counted."""

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64, SLACK
from epsball.certificates.semidefinite.cube import Cube, Multipliers, Quadratic

_LIFTS = (1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""What is added to the diagonal, of which the one that gives the best bound counts."""

NOTHING = torch.tensor(-torch.inf, dtype=torch.float64)


def proved(cube: Cube, multipliers: Multipliers) -> Tensor:
    """Return lower bounds (m,) of the rows, by multipliers of any origin.

    For t in [-1, 1]^N and q >= 0 the Lagrangian k + p . t + t' M t is at least k + p . t + t' (M + diag(q)) t - sum(q).
    That is at least k - sum(q) - q_0 where

        [[q_0, p' / 2], [p / 2, M + diag(q)]]

    is positive semidefinite. `definite` decides that; q is raised until it is. Entries of k, p and M that are off by
    e cost at most the sum of all e, since abs(t_i) <= 1.
    """
    of = multipliers.projected()
    parts = [Multipliers(*(part[row : row + 1] for part in of)) for row in range(len(of.cube))]
    return torch.stack([_of_row(cube.of_row(row), part) for row, part in enumerate(parts)])


def _of_row(one: Cube, of: Multipliers) -> Tensor:
    """Return the bound of the only row."""
    found, sizes = one.lagrangian(of), one.magnitudes(of)
    entries = sizes.p.sum() + sizes.D.sum() + 2 * sizes.B.sum() + sizes.C.sum() + sizes.k.sum()
    error = SLACK * (one.losses(of).sum() + 2 * BINARY64.gamma(one.terms) * (entries + 2 * of.cube.sum()))
    error = error + 2.0**-900
    if not bool(torch.isfinite(error)) or not bool(torch.isfinite(found.k[0])):
        return NOTHING
    best = NOTHING
    for lift in _LIFTS:
        lost = _lost(found, of.cube[0] * (1 + lift) + lift, lift)
        if lost is None:
            continue
        doubt = SLACK * (error + 8 * BINARY64.unit * (found.k[0].abs() + lost))
        bound = torch.nextafter(found.k[0] - lost - doubt, NOTHING)
        if not bool(bound > best):
            break
        best = bound
    return best


def _lost(found: Quadratic, q: Tensor, lift: float) -> Tensor | None:
    """Return sum(q) + q_0, rounded up, with q_0 as little as proves the matrix positive semidefinite; or None."""
    d, n = found.D.shape[1], len(q)
    whole = torch.zeros(n + 1, n + 1, dtype=torch.float64)
    whole[1 : d + 1, 1 : d + 1] = torch.diag(found.D[0])
    whole[d + 1 :, 1 : d + 1], whole[1 : d + 1, d + 1 :] = found.B[0], found.B[0].mT
    whole[d + 1 :, d + 1 :] = found.C[0]
    whole.diagonal()[1:] += q
    whole[0, 1:] = whole[1:, 0] = 0.5 * found.p[0]
    factor, failed = torch.linalg.cholesky_ex(whole[1:, 1:])
    if bool(failed) or not bool(torch.isfinite(factor).all()):
        return None
    half = torch.linalg.solve_triangular(factor, whole[1:, :1], upper=False)
    whole[0, 0] = (half * half).sum() * (1 + 1e-9) + lift
    shift = definite(whole)
    if shift is None:
        return None
    # Every q is raised by the shift that makes the matrix semidefinite for certain; the diagonal was rounded once.
    lost = q.sum() + whole[0, 0] + (n + 1) * shift + BINARY64.unit * whole.diagonal().abs().sum()
    return lost * (1 + BINARY64.gamma(n + 8))


def definite(matrix: Tensor) -> float | None:
    """Return c such that the symmetric matrix plus c on its diagonal is positive semidefinite, or None.

    If Cholesky's method runs to its end in floating point, in any order of its sums, the product of its factors is off
    from the matrix by at most gamma_{n+1} / (1 - gamma_{n+1}) sqrt(a_ii a_jj) in entry (i, j), so that c is that times
    the trace, and 2^-900 for underflow.

    References
    ----------
    Demmel, "On floating point errors in Cholesky" (LAPACK working note 14, 1989); Rump, "Verification of positive
    definiteness" (BIT 2006).
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    trace = matrix.diagonal().sum().item()
    if bool(failed) or not bool(torch.isfinite(factor).all()) or not trace < 2.0**500:
        return None
    gamma = BINARY64.gamma(len(matrix) + 1)
    return SLACK * gamma / (1 - gamma) * trace + 2.0**-900
