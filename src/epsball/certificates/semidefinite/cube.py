"""`Cube`: the network's rectifiers as quadratic constraints over t in [-1, 1]^N, and Lagrangians of these."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64
from epsball.certificates.polytope.rectified import Affine, Rectified


class Multipliers(NamedTuple):
    """Multipliers of the constraints, one set per row; all but `complement` are at least 0.

    Parameters
    ----------
    zero, line, chord
        Of r >= 0, r >= z and r <= s z + a, (m, K).
    complement
        Of r^2 = r z, (m, K), of any sign.
    cube
        Of t_i^2 <= 1, (m, N).
    ball
        Of norm(x - centre)^2 <= radius^2, (m, 1); 0 where the ball is a box.
    """

    zero: Tensor
    line: Tensor
    chord: Tensor
    complement: Tensor
    cube: Tensor
    ball: Tensor

    def projected(self) -> "Multipliers":
        """Return the nearest multipliers of the right signs; those that are not finite are 0."""
        finite = [torch.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0) for part in self]
        signed = Multipliers(*(part.clamp(min=0.0) for part in finite))
        return signed._replace(complement=finite[3])


class Quadratic(NamedTuple):
    """k + p . t + t' M t with M = [[diag(D), B'], [B, C]], over the d inputs and the K rectifiers, for m rows."""

    k: Tensor
    p: Tensor
    D: Tensor
    B: Tensor
    C: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Cube:
    """The columns v = middle + half t of a `Rectified` network, t in [-1, 1]^N, and what is known of them.

        r >= 0,    r >= z,    r <= s z + a,    r^2 = r z,    z = W t + w

    each up to the radius of z: the first three describe the triangle of the linear programs.

    Parameters
    ----------
    middle, half
        Of the columns, (N,). The halves are rounded up.
    weight, bias, radius
        abs(z - (W t + w)) <= radius, (K, N), (K,), (K,).
    objective, constant, doubt
        The rows, (m, N), (m,), (m,), in the same way.
    slope, above
        Of the chords, (K,).
    distance, reach
        middle - centre of the inputs, (d,), and radius^2 of an l2 ball; None for a box.
    """

    middle: Tensor
    half: Tensor
    weight: Tensor
    bias: Tensor
    radius: Tensor
    objective: Tensor
    constant: Tensor
    doubt: Tensor
    slope: Tensor
    above: Tensor
    distance: Tensor
    reach: float | None

    @classmethod
    def of(cls, network: Rectified) -> "Cube":
        """Return the constraints of a network, with what the change of variables loses added to the radii."""
        middle = 0.5 * (network.low + network.high)
        half = np.nextafter(np.maximum(network.high - middle, middle - network.low), np.inf)
        half = np.where(network.low == network.high, 0.0, half)
        weight, bias, radius = (torch.from_numpy(part) for part in _moved(network.z, middle, half))
        objective, constant, doubt = (torch.from_numpy(part) for part in _moved(network.objective, middle, half))
        d, domain = network.inputs, network.domain
        centre = domain.centre.flatten().numpy()
        return cls(
            middle=torch.from_numpy(middle),
            half=torch.from_numpy(half),
            weight=weight,
            bias=bias,
            radius=radius,
            objective=objective,
            constant=constant,
            doubt=doubt,
            slope=torch.from_numpy(network.chord),
            above=torch.from_numpy(network.above),
            distance=torch.from_numpy(middle[:d] - centre),
            reach=float(np.nextafter(domain.radius**2, np.inf)) if domain.norm == "l2" else None,
        )

    @property
    def inputs(self) -> int:
        """The number d of inputs."""
        return len(self.distance)

    def lagrangian(self, of: Multipliers) -> Quadratic:
        """Return a quadratic that is at most row . value plus `losses`, wherever the constraints hold, without cube."""
        return _lagrangian(self, of, -1.0)

    def losses(self, of: Multipliers) -> Tensor:
        """Return what the radii cost the rows, (m,)."""
        most = (2 * self.middle[self.inputs :]).abs()
        complement = of.complement.abs() @ (self.radius * most)
        return self.doubt + (of.line + of.chord * self.slope) @ self.radius + complement

    def magnitudes(self, of: Multipliers) -> Quadratic:
        """Return the sums of magnitudes that the Lagrangian's coefficients are summed from."""
        sizes = {name: getattr(self, name).abs() for name in self.__dataclass_fields__ if name != "reach"}
        return _lagrangian(Cube(**sizes, reach=self.reach), Multipliers(*(part.abs() for part in of)), 1.0)

    def of_row(self, row: int) -> "Cube":
        """Return the constraints with one row."""
        at = slice(row, row + 1)
        return replace(self, objective=self.objective[at], constant=self.constant[at], doubt=self.doubt[at])

    @property
    def terms(self) -> int:
        """A bound on the summands of any coefficient, and of a value."""
        return 4 * len(self.middle) + 32


def _moved(f: Affine, middle: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return f over t, with v = middle + half t."""
    matrix = f.matrix * half
    constant = f.matrix @ middle + f.constant
    size = np.abs(f.matrix) @ np.abs(middle) + np.abs(f.constant) + np.abs(matrix).sum(axis=1)
    lost = 2 * BINARY64.gamma(len(middle) + 4) * size + BINARY64.tiny * (1 + len(middle))
    return matrix, constant, (f.radius + lost) * (1 + 2.0**-48)


def _lagrangian(cube: Cube, of: Multipliers, sign: float) -> Quadratic:
    """Return the Lagrangian's coefficients (sign -1), or with the magnitudes of all data the magnitudes' sums (1).

    row . value - zero r - line (r - z) + chord (r - s z - a) + complement (r^2 - r z) + ball (norm^2 - radius^2)
    """
    d, s = cube.inputs, sign
    m, h, W, w = cube.middle[d:], cube.half[d:], cube.weight, cube.bias
    over_r, over_z = of.chord + s * of.zero + s * of.line, of.line + s * of.chord * cube.slope
    mu = of.complement
    k = cube.constant + over_r @ m + over_z @ w + s * of.chord @ cube.above + mu @ (m * (m + s * w))
    p = cube.objective + (over_z + s * mu * m) @ W
    own = over_r * h + mu * h * (2 * m + s * w)
    x_p, D = p[:, :d], torch.zeros_like(p[:, :d])
    if cube.reach is not None:
        g, hx = cube.distance, cube.half[:d]
        k = k + of.ball[:, 0] * (g @ g + s * cube.reach)
        x_p, D = x_p + 2 * of.ball * (g * hx), D + of.ball * hx**2
    scaled = 0.5 * s * (mu * h).unsqueeze(2) * W
    over_rr = scaled[:, :, d:]
    C = over_rr + over_rr.mT + torch.diag_embed(mu * h**2)
    return Quadratic(k, torch.cat([x_p, p[:, d:] + own], dim=1), D, scaled[:, :, :d], C)
