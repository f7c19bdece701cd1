"""Multipliers of the semidefinite relaxation by Newton's method along the central path of its dual."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lapack
from scipy.sparse import csr_array, diags_array, eye_array, vstack

from epsball.certificates.semidefinite.cube import Cube, Multipliers

_GAP = 1e-5
"""The duality gap, relative to the size of the row's value, at which the path ends."""

_FASTER = 8.0
"""By how much the weight of the objective grows, whenever Newton's steps have converged."""

_INSIDE = 0.05
"""How far inside the path begins, in mean sizes of q."""

_RIDGES = (0.0, 1e-12, 1e-10, 1e-8)
"""What is added to the diagonal of second derivatives, relative to it, where rounding makes them indefinite."""

_DENSE = 400
"""Constraints up to which U and V are dense: there the calls for sparse matrices cost more than the zeros."""

_CONVERGED = 0.25
"""Newton decrement below which they have."""


@dataclass(kw_only=True, eq=False)
class CentralPath:
    """One row's dual: maximise sigma - sum(q) where Z is positive semidefinite and y >= 0 but for the last K.

        Z = sym(e_0, c) - sigma e_0 e_0' + diag(q) + sum_i y_i sym(u_i, v_i),    sym(u, v) = (u v' + v u') / 2,

    over (1, t): every constraint of the `Cube` is a product of two affine functions of t, u and v, with 1 + N
    coefficients each. They are U E and V E for sparse U and V, where E has the rows e_0, r_k and z_k: inner products of
    all of them follow from those of E. A ball is the one further matrix `ball`.

    References
    ----------
    Raghunathan, Steinhardt and Liang, "Semidefinite relaxations for certifying robustness to adversarial examples"
    (NeurIPS 2018); Boyd and Vandenberghe, "Convex optimization" (2004), 11.3.
    """

    row: np.ndarray
    E: np.ndarray
    U: Any
    V: Any
    free: int
    ball: np.ndarray | None
    steps: int

    @classmethod
    def of(cls, cube: Cube, row: int, steps: int) -> "CentralPath":
        """Return the dual of one row."""
        d, n, k = cube.inputs, len(cube.middle), len(cube.slope)
        m, h, s, a = (part.numpy() for part in (cube.middle[d:], cube.half[d:], cube.slope, cube.above))
        r = np.concatenate([m[:, None], np.zeros((k, d)), np.diag(h)], axis=1)
        z = np.concatenate([cube.bias.numpy()[:, None], cube.weight.numpy()], axis=1)
        # Columns of U and V: e_0, r, z.
        first = csr_array((np.ones(k), (np.arange(k), np.zeros(k, dtype=int))), shape=(k, 1 + 2 * k))
        of_r, of_z = (eye_array(k, 1 + 2 * k, k=start, format="csr") for start in (1, 1 + k))
        chord = of_r - diags_array(s) @ of_z - diags_array(a) @ first
        ball = None
        if cube.reach is not None:
            g, hx = cube.distance.numpy(), cube.half[:d].numpy()
            ball = np.zeros((n + 1, n + 1))
            ball[0, 0], ball[0, 1 : d + 1], ball[1 : d + 1, 0] = g @ g - cube.reach, g * hx, g * hx
            ball[range(1, d + 1), range(1, d + 1)] = hx**2
        return cls(
            row=np.concatenate([cube.constant[row : row + 1].numpy(), cube.objective[row].numpy()]),
            E=np.concatenate([np.eye(1, n + 1), r, z]),
            U=_stored([first, first, first, of_r]),
            V=_stored([-of_r, of_z - of_r, chord, of_r - of_z]),
            free=k,
            ball=ball,
            steps=steps,
        )

    def multipliers(self, start: Multipliers) -> np.ndarray:
        """Return theta = (sigma, q, y, ball) of the best bound on the path, which ends where the steps do."""
        theta, size = self._inside(start)
        weight, most = 1.0 / size, (len(theta) + len(self.row)) / (_GAP * size * len(self.row))
        best = theta
        for _ in range(self.steps):
            found = self._step(theta, weight)
            if found is None:
                break
            theta, decrement = found
            best = max(best, theta, key=self._bound)
            if decrement < _CONVERGED:
                if weight >= most:
                    break
                weight = min(most, weight * _FASTER)
        return best

    def _bound(self, theta: np.ndarray) -> float:
        """Return sigma - sum(q)."""
        return float(theta[0] - theta[1 : len(self.row)].sum())

    @property
    def sparse(self) -> bool:
        """Whether U and V are stored so."""
        return not isinstance(self.U, np.ndarray)

    @property
    def _count(self) -> int:
        """The number of y: four constraints per rectifier, of which the last is an equation."""
        return 4 * self.free

    @property
    def _positive(self) -> slice:
        """The entries of theta that are at least 0, but for the ball's, which is the last."""
        n = len(self.row)
        return slice(1, n + self._count - self.free)

    def _inside(self, start: Multipliers) -> tuple[np.ndarray, float]:
        """Return a point well inside, near multipliers without a quadratic part, and the mean size of q there."""
        n = len(self.row)
        linear = [part[0].numpy() for part in (start.zero, start.line, start.chord)]
        size = float(start.cube.mean())
        y = np.concatenate([*(part + _INSIDE * size for part in linear), np.zeros(self.free)])
        widest = 0.0 if self.ball is None else self.ball.diagonal()[1:].max()
        ball = np.zeros(0) if self.ball is None else np.array([_INSIDE * size / max(widest, 1e-300)])
        theta = np.concatenate([np.zeros(n), y, ball])
        matrix = self._matrix(theta)
        half = np.abs(matrix[0, 1:])
        theta[1:n] = half + _INSIDE * size
        theta[0] = matrix[0, 0] - (half**2 / theta[1:n]).sum() - size
        return theta, size

    def _matrix(self, theta: np.ndarray) -> np.ndarray:
        """Return Z."""
        n = len(self.row)
        y = theta[n : n + self._count]
        pairs = self.U.T @ (self.V.multiply(y[:, None]).tocsr() if self.sparse else self.V * y[:, None])
        pairs = pairs.toarray() if self.sparse else pairs
        k = self.free
        over = pairs[: 1 + k] @ self.E  # nothing is multiplied by z, and r_k has two entries
        m, h = self.E[1 : 1 + k, 0], self.E[1 : 1 + k, n - k :].diagonal()
        half = np.zeros((n, n))
        half[0] = self.row + over[0] + m @ over[1:]
        half[n - k :] = h[:, None] * over[1:]
        Z = 0.5 * (half + half.T)
        Z[range(n), range(n)] += np.concatenate([-theta[:1], theta[1:n]])
        return Z if self.ball is None else Z + theta[-1] * self.ball

    def _step(self, theta: np.ndarray, weight: float) -> tuple[np.ndarray, float] | None:
        """Return the next point and Newton's decrement; None where numbers end the path."""
        n, positive = len(self.row), self._positive
        inverse = _inverse(self._matrix(theta))
        if inverse is None:
            return None
        gradient, hessian = self._derivatives(inverse)
        gradient[0] += weight
        gradient[1:n] -= weight
        inward = np.zeros(len(theta))
        inward[positive] = 1.0 / theta[positive]
        if self.ball is not None:
            inward[-1] = 1.0 / theta[-1]
        gradient += inward
        hessian[range(len(theta)), range(len(theta))] += inward**2
        for ridge in _RIDGES:
            hessian[range(len(theta)), range(len(theta))] *= 1.0 + ridge
            try:
                factor = cho_factor(hessian, lower=True, check_finite=False)
            except LinAlgError:
                continue
            direction = cho_solve(factor, gradient, check_finite=False)
            decrement = float(np.sqrt(max(0.0, gradient @ direction)))
            moved = self._moved(theta, direction, weight, decrement) if np.isfinite(decrement) else None
            if moved is not None:
                return moved, decrement
        return None

    def _moved(self, theta: np.ndarray, direction: np.ndarray, weight: float, decrement: float) -> np.ndarray | None:
        """Return a point along a direction that is inside and no worse."""
        before = self._value(theta, weight)
        positive = np.concatenate([theta[self._positive], theta[len(theta) - (self.ball is not None) :]])
        toward = np.concatenate([direction[self._positive], direction[len(theta) - (self.ball is not None) :]])
        size = min(1.0, 0.95 / max(1e-300, float((-toward / positive).max(initial=0.0))))
        for _ in range(40):
            point = theta + size * direction
            if self._value(point, weight) >= before + 0.1 * size * decrement**2 - 1e-9 * abs(before):
                return point
            size *= 0.5
        return None

    def _value(self, theta: np.ndarray, weight: float) -> float:
        """Return weight (sigma - sum(q)) + log det Z + sum(log y); -inf outside."""
        inside = np.concatenate([theta[self._positive], theta[len(theta) - (self.ball is not None) :]])
        if not bool((inside > 0).all()):
            return -np.inf
        factor, failed = lapack.dpotrf(self._matrix(theta), lower=1)  # pyright: ignore[reportAttributeAccessIssue]
        if failed:
            return -np.inf
        logs = 2 * np.log(factor.diagonal()).sum() + np.log(inside).sum()
        return float(weight * self._bound(theta) + logs)

    def _derivatives(self, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient and negative Hessian of log det Z, with S = Z^-1.

        tr(S sym(u, v)) = u' S v, and tr(S sym(u, v) S sym(x, y)) = (u' S x v' S y + u' S y v' S x) / 2.
        """
        n, P = len(S), self._count
        count = n + P + (self.ball is not None)
        signs = np.concatenate([[-1.0], np.ones(n - 1)])
        F = self.E @ S
        G = F @ self.E.T
        Su, Sv = self.U @ F, self.V @ F
        u_u, v_v, u_v = (A @ (B @ G.T).T for A, B in ((self.U, self.U), (self.V, self.V), (self.U, self.V)))
        gradient, H = np.empty(count), np.empty((count, count))
        gradient[:n] = signs * S.diagonal()
        gradient[n : n + P] = u_v.diagonal()
        H[:n, :n] = signs[:, None] * S**2 * signs
        H[n : n + P, :n] = Su * Sv * signs
        H[n : n + P, n : n + P] = 0.5 * (u_u * v_v + u_v * u_v.T)
        if self.ball is not None:
            T = S @ self.ball @ S
            gradient[-1] = (S * self.ball).sum()
            H[-1, :n] = signs * T.diagonal()
            H[-1, n : n + P] = (self.U @ (self.E @ T @ self.E.T) @ self.V.T).diagonal()
            H[-1, -1] = (T * self.ball).sum()
        return gradient, H


def _stored(parts: list[Any]) -> Any:
    """Return parts below each other, sparse if they are large."""
    whole = csr_array(vstack(parts))
    return whole if len(parts) * parts[0].shape[0] > _DENSE else whole.toarray()


def _inverse(matrix: np.ndarray) -> np.ndarray | None:
    factor, failed = lapack.dpotrf(matrix, lower=1)  # pyright: ignore[reportAttributeAccessIssue]
    if failed:
        return None
    inverse, failed = lapack.dpotri(factor, lower=1)  # pyright: ignore[reportAttributeAccessIssue]
    if failed:
        return None
    return np.tril(inverse) + np.tril(inverse, -1).T


def solved(cube: Cube, start: Multipliers, *, steps: int = 150) -> Multipliers:
    """Return the multipliers of each row at the end of its path, given some to start near: none for equations."""
    n, k = len(cube.middle), len(cube.slope)
    found = []
    for row in range(len(cube.constant)):
        own = Multipliers(*(part[row : row + 1] for part in start))
        found.append(CentralPath.of(cube, row, steps).multipliers(own))
    theta = torch.from_numpy(np.stack(found))
    zero, line, chord, complement = theta[:, n + 1 : n + 1 + 4 * k].split(k, dim=1)
    ball = torch.zeros(len(theta), 1, dtype=torch.float64) if cube.reach is None else theta[:, -1:]
    return Multipliers(zero, line, chord, complement, theta[:, 1 : n + 1], ball)
