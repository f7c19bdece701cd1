"""The semidefinite relaxation of a small network, solved by an interior-point method of cvxpy's."""

from typing import Any

import numpy as np
import torch

from epsball.certificates.semidefinite.cube import Cube, Multipliers


def solved(cube: Cube) -> Multipliers:
    """Return the multipliers of each row that a solver finds best; 0 where it finds none."""
    rows = [_of_row(cube, row) for row in range(len(cube.constant))]
    return Multipliers(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))


def _of_row(cube: Cube, row: int) -> Multipliers:
    import cvxpy

    d, n, k = cube.inputs, len(cube.middle), len(cube.slope)
    m, h, w, s, a = (part.numpy() for part in (cube.middle[d:], cube.half[d:], cube.bias, cube.slope, cube.above))
    W, c = cube.weight.numpy(), cube.objective[row].numpy()
    zero, line, chord = (cvxpy.Variable(k, nonneg=True) for _ in range(3))
    mu, q, ball = cvxpy.Variable(k), cvxpy.Variable(n, nonneg=True), cvxpy.Variable(nonneg=True)
    q_0 = cvxpy.Variable()
    over_r, over_z = chord - zero - line, line - cvxpy.multiply(s, chord)
    constant = float(cube.constant[row]) + over_r @ m + over_z @ w - chord @ a + mu @ (m * (m - w))
    p = c + W.T @ (over_z - cvxpy.multiply(m, mu))
    own = cvxpy.multiply(h, over_r) + cvxpy.multiply(h * (2 * m - w), mu)
    diagonal: Any = q + np.concatenate([np.zeros(d), np.ones(k)]) @ np.zeros((d + k, n)) if k == 0 else q
    pad = np.vstack([np.zeros((d, k)), np.eye(k)])
    p = p + pad @ own
    diagonal = diagonal + pad @ cvxpy.multiply(h**2, mu)
    scaled = cvxpy.diag(cvxpy.multiply(h, mu)) @ W * -0.5
    square = pad @ scaled
    matrix = square + square.T + cvxpy.diag(diagonal)
    if cube.reach is not None:
        g, hx = cube.distance.numpy(), cube.half[:d].numpy()
        constant = constant + ball * float(g @ g - cube.reach)
        wide = np.concatenate([hx, np.zeros(k)])
        p, matrix = p + 2 * ball * np.concatenate([g * hx, np.zeros(k)]), matrix + ball * np.diag(wide**2)
    whole = cvxpy.bmat([[cvxpy.reshape(q_0, (1, 1), order="F"), 0.5 * cvxpy.reshape(p, (1, n), order="F")], [0.5 * cvxpy.reshape(p, (n, 1), order="F"), matrix]])
    problem = cvxpy.Problem(cvxpy.Maximize(constant - q_0 - cvxpy.sum(q)), [whole >> 0])
    problem.solve(solver=cvxpy.CLARABEL)
    values = [zero.value, line.value, chord.value, mu.value, q.value, np.array([ball.value if cube.reach is not None else 0.0])]
    return Multipliers(*values)
