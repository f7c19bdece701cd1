"""First-order ascent on the multipliers of the semidefinite relaxation."""

import math

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from epsball.certificates.semidefinite.cube import Cube, Multipliers

_BARRIERS = (1e-1, 1e-2, 1e-3)
"""Weights of the log determinant, one after the other."""

_OUTSIDE = 1e8
"""The loss where the matrix is not positive definite, from which a line search returns."""


def least(cube: Cube, of: Multipliers) -> tuple[Tensor, Tensor]:
    """Return the least value of the Lagrangian with cube, (m,), and half its matrix's log determinant, without proof.

    With Q = M + diag(q) it is k - losses - sum(q) - p' Q^-1 p / 4; -inf where Q is not positive definite. The inputs'
    block of Q is diagonal and is eliminated first.
    """
    found = cube.lagrangian(of)
    d = cube.inputs
    D = found.D + of.cube[:, :d]
    scaled = found.B / D.unsqueeze(1)
    S = found.C + torch.diag_embed(of.cube[:, d:]) - scaled @ found.B.mT
    x_p, r_p = 0.5 * found.p[:, :d], 0.5 * found.p[:, d:]
    factor, failed = torch.linalg.cholesky_ex(S)
    rest = (r_p - (scaled @ x_p.unsqueeze(2)).squeeze(2)).unsqueeze(2)
    half = torch.linalg.solve_triangular(factor, rest, upper=False)
    lost = (x_p**2 / D).sum(dim=1) + (half**2).sum(dim=(1, 2))
    value = found.k - cube.losses(of) - of.cube.sum(dim=1) - lost
    definite = (failed == 0) & (D > 0).all(dim=1)
    logs = D.log().sum(dim=1) / 2 + factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return torch.where(definite, value, -math.inf), logs


def ascended(cube: Cube, start: Multipliers, *, steps: int) -> Multipliers:
    """Return multipliers that L-BFGS finds from a start, each row on its own, with less and less of a barrier."""
    rows = [Multipliers(*(part[row : row + 1] for part in start)) for row in range(len(cube.constant))]
    found = [_of_row(cube.of_row(row), part, steps) for row, part in enumerate(rows)]
    return Multipliers(*map(torch.cat, zip(*found, strict=True)))


def _of_row(cube: Cube, start: Multipliers, steps: int) -> Multipliers:
    scale = float(start.cube.mean())
    sizes = [part.shape[1] for part in start]

    def multipliers(flat: Tensor) -> Multipliers:
        return Multipliers(*(scale * part.unsqueeze(0) for part in flat.split(sizes)))

    def loss(flat: np.ndarray, barrier: float) -> tuple[float, np.ndarray]:
        leaf = torch.tensor(flat, requires_grad=True)
        value, logs = least(cube, multipliers(leaf))
        if not bool(torch.isfinite(value).all()):
            return _OUTSIDE, np.zeros_like(flat)
        negative = -(value[0] / scale + barrier * logs[0])
        negative.backward()
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        return negative.item(), gradient.numpy()

    limits = {"complement": (None, None), "cube": (1e-9, None)}
    ends = [limits.get(name, (0.0, None)) for name, n in zip(start._fields, sizes, strict=True) for _ in range(n)]
    flat = torch.cat([part[0] for part in start]).numpy() / scale
    for barrier in _BARRIERS:
        options = {"maxiter": steps, "maxfun": steps, "maxcor": 30}
        flat = minimize(loss, flat, args=(barrier,), jac=True, method="L-BFGS-B", bounds=ends, options=options).x
    return multipliers(torch.from_numpy(flat))
