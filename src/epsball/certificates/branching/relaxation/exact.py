"""The best multipliers of a part without a free rectifier, where the network is affine: a program's duals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from epsball.certificates.branching.relaxation.reduced import Functions, Layer
from epsball.certificates.branching.relaxation.region import Region

_PENALTY = 2.0**20
"""What it costs, in units of the largest coefficient, to leave a part: its multipliers sum to this at most."""

_OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "solver": "simplex",
    "simplex_iteration_limit": 10**5,
}

_ENTRIES = 2**24
"""The most entries of a program's matrix."""


_PLANES, _OUTSIDE = 60, 1e-7
"""Planes that cut a ball of l2 out, and by which share of the radius a point may lie outside."""


def affine_optimum(
    layers: Sequence[Layer], functions: Functions, region: Region, row: int, states: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Return the multipliers (m,) of the best bound of a row over a part, and where it is attained, (d,).

    The part is where sign z >= 0 for every rectifier, z affine in x there. A part that is empty has multipliers too:
    the program pays for leaving it. None stands for no solution, and for programs that are too large.
    """
    if len(states) * len(region.low) > _ENTRIES:
        return None
    over_input, constants = _composed(layers, states)
    on = (states > 0).double()
    cost = functions.over_input[row].double().clone()
    start = 0
    for part in functions.over_layers:
        width = part.shape[1]
        cost += (part[row].double() * on[start : start + width]) @ over_input[start : start + width]
        start += width
    signs = states.clamp(-1, 1).double()
    return _solved(cost.numpy(), (signs.unsqueeze(1) * over_input).numpy(), (signs * constants).numpy(), region)


def _composed(layers: Sequence[Layer], states: Tensor) -> tuple[Tensor, Tensor]:
    """Return z of every rectifier as an affine function of x: a matrix (m, d) and constants (m,)."""
    rows, constants, start = [], [], 0
    on = (states > 0).double()
    for layer in layers:
        over, constant = layer.functions.over_input.double(), layer.functions.constant.double()
        before = 0
        for number, part in enumerate(layer.functions.over_layers):
            width = part.shape[1]
            weights = part.double() * on[before : before + width]
            over, constant = over + weights @ rows[number], constant + weights @ constants[number]
            before += width
        rows.append(over)
        constants.append(constant)
        start += len(layer)
    return torch.cat(rows), torch.cat(constants)


def _solved(cost: np.ndarray, rows: np.ndarray, constants: np.ndarray, region: Region) -> tuple[Tensor, Tensor] | None:
    """Minimise cost . x + penalty e subject to rows . x + constants + e >= 0, e >= 0, over the domain.

    A ball of l2 is cut out of its box by planes, u . (x - centre) <= radius for |u| = 1, each where the last solution
    left the ball (Kelley's method). The multipliers of the rows are all that is used, and any are valid.
    """
    import highspy

    d, m = len(cost), len(rows)
    solver = highspy.Highs()
    for option, value in _OPTIONS.items():
        solver.setOptionValue(option, value)
    penalty = _PENALTY * max(1.0, float(np.abs(cost).max(initial=0)))
    low, high = (end.double().numpy() for end in (region.low, region.high))
    solver.addVars(d + 1, np.append(low, 0.0), np.append(high, np.inf))
    solver.changeColsCost(d + 1, np.arange(d + 1, dtype=np.int32), np.append(cost, penalty))
    matrix = csr_array(np.concatenate([rows, np.ones((m, 1))], axis=1))
    if m:
        _add_rows(solver, matrix, -constants, np.full(m, np.inf))
    if region.norm == "l1":
        _add_l1_ball(solver, d, region)
    solver.run()
    for _ in range(_PLANES if region.norm == "l2" else 0):
        off = np.asarray(solver.getSolution().col_value)[:d] - region.centre.double().numpy().ravel()
        size = float(np.linalg.norm(off))
        if not size > region.radius * (1 + _OUTSIDE):
            break
        plane, most = (
            np.append(off / size, 0.0)[None],
            region.radius + off @ region.centre.double().numpy().ravel() / size,
        )
        _add_rows(solver, csr_array(plane), np.array([-np.inf]), np.array([most]))
        solver.run()
    if solver.modelStatusToString(solver.getModelStatus()) != "Optimal":
        return None
    solution = solver.getSolution()
    duals = torch.from_numpy(np.asarray(solution.row_dual)[:m].clip(min=0))
    return duals, torch.from_numpy(np.asarray(solution.col_value)[:d])


def _add_l1_ball(solver: Any, d: int, region: Region) -> None:
    """Add x = c + p - q with p, q >= 0 and sum(p + q) <= radius."""
    solver.addVars(2 * d, np.zeros(2 * d), np.full(2 * d, np.inf))
    unit, nothing = np.eye(d), np.zeros((d, 1))
    ends = np.concatenate([unit, nothing, -unit, unit], axis=1)
    whole = np.concatenate([np.zeros(d + 1), np.ones(2 * d)])[None]
    centre = region.centre.double().numpy()
    for block, low, high in ((ends, centre, centre), (whole, np.array([-np.inf]), np.array([region.radius]))):
        _add_rows(solver, csr_array(block), low, high)


def _add_rows(solver: Any, matrix: csr_array, low: np.ndarray, high: np.ndarray) -> None:
    starts, index = matrix.indptr[:-1].astype(np.int32), matrix.indices.astype(np.int32)
    solver.addRows(len(low), low, high, matrix.nnz, starts, index, matrix.data)
