"""`Rectified`: a network of rectifiers as affine functions of its input and of its unstable rectifiers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64
from epsball.certificates.curves import rectifier_relaxation
from epsball.certificates.domain import Domain
from epsball.certificates.polytope.columns import Columns, Neurons, units
from epsball.certificates.propagation import Propagation
from epsball.errors import UnsupportedOperation
from epsball.graph import Node
from epsball.graph.kinds import Elementwise, Input, PReLU

_DOUBT = 2.0**-48
"""Covers a few roundings relative to the magnitudes of what is rounded."""


class Affine(NamedTuple):
    """abs(f - (matrix v + constant)) <= radius for m functions f, at every v that the network can take."""

    matrix: np.ndarray
    constant: np.ndarray
    radius: np.ndarray

    def take(self, count: int) -> "Affine":
        """Return the first functions."""
        return Affine(*(part[:count] for part in self))


@dataclass(frozen=True, kw_only=True, eq=False)
class Rectified:
    """Some functions of a network over one ball, in the columns v = (x, r), with r_k = max(z_k, 0).

    Only neurons without a line have an r_k, as those whose sign is not known. max(z, a z) is a z + (1 - a) r, and
    abs(z) is 2 r - z.

    Parameters
    ----------
    domain
        Where x lies.
    low, high
        Bounds of each column, (d + K,).
    z
        The neurons z_k, of which each depends on x and on r_j with j < k.
    objective
        The functions asked for.
    chord, above
        r_k <= chord_k z_k + above_k, (K,), wherever z_k can lie.
    z_low, z_high
        Bounds of z, (K,).
    """

    domain: Domain
    low: np.ndarray
    high: np.ndarray
    z: Affine
    objective: Affine
    chord: np.ndarray
    above: np.ndarray
    z_low: np.ndarray
    z_high: np.ndarray

    @classmethod
    def of(cls, bounds: Propagation, start: str, rows: Tensor) -> "Rectified":
        """Return the functions row . value of a node, for rows (m, *shape), by bounds of one example.

        Raises
        ------
        UnsupportedOperation
            If a neuron that is not a rectifier has no line.
        """
        columns = _Rectifiers(bounds)
        objective = columns.both(start, rows)
        low, high, z_low, z_high = columns.ends()
        lines = rectifier_relaxation(torch.from_numpy(z_low), torch.from_numpy(z_high), 0.0)
        z = [_padded(part, len(low)) for part in columns.z]
        return cls(
            domain=bounds.domain,
            low=low,
            high=high,
            z=Affine(*map(np.concatenate, zip(*z, strict=True))) if z else _padded(objective, len(low)).take(0),
            objective=_padded(objective, len(low)),
            chord=lines.upper_slope.numpy(),
            above=lines.upper.numpy(),
            z_low=z_low,
            z_high=z_high,
        )

    @property
    def finite(self) -> bool:
        """Whether all bounds are: only then there is a program."""
        parts = (self.low, self.high, self.z_low, self.z_high, self.above, *self.z, *self.objective)
        return all(bool(np.isfinite(part).all()) for part in parts)

    @property
    def inputs(self) -> int:
        """The number d of inputs."""
        return len(self.low) - len(self.chord)


class _Rectifiers(Columns):
    """Columns for the inputs and for r = max(z, 0) of each unstable rectifier; `z` has these z."""

    def __init__(self, bounds: Propagation) -> None:
        ends = [end.flatten().numpy() for end in bounds.domain.box]
        super().__init__(bounds=bounds, neurons={bounds.graph.input.name: Neurons(np.arange(len(ends[0])), 0)})
        self.z: list[Affine] = []
        self._ends = [np.stack(ends)]
        self._boxes: list[np.ndarray] = []
        self._factors = [np.ones(len(ends[0]))]

    @property
    def width(self) -> int:
        """The number of columns."""
        return sum(len(factor) for factor in self._factors)

    def ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the bounds of all columns, low and high, and those of all z."""
        boxes = np.concatenate([np.zeros((2, 0)), *self._boxes], axis=1)
        return (*np.concatenate(self._ends, axis=1), *boxes)

    def add(self, node: Node, places: np.ndarray) -> None:
        """Add r for unstable rectifiers of a node."""
        share, source = _share(self.bounds, node), self.bounds.graph[node.inputs[0]]
        if share is None:
            raise UnsupportedOperation(
                f"this program covers affine nodes and rectifiers; node '{node.name}' ({node.origin or 'no origin'}) "
                f"is a {_name(node)} that is not a line here. Use 'lp', 'crown' or 'optimised'."
            )
        self.z.append(self.both(source.name, units(len(places), places, source.shape)))
        box = np.stack(
            [end.expand(1, *source.shape).flatten().numpy()[places] for end in self.bounds.boxes[source.name]]
        )
        self.neurons[node.name] = Neurons(places, self.width)
        self._boxes.append(box)
        self._ends.append(box.clip(min=0.0))
        self._factors.append(1.0 - share.expand(1, 1, *node.shape).flatten().numpy()[places])

    def passed_on(self, node: Node) -> Tensor | None:
        """Return a, of max(z, a z) = a z + (1 - a) r."""
        share = None if isinstance(node.kind, Input) else _share(self.bounds, node)
        return None if share is None or not bool(share.any()) else share

    def both(self, start: str, rows: Tensor) -> Affine:
        """Return rows (m, *shape) over a node with the radius that covers their rounding on both sides."""
        below, m = self.functions(start, torch.cat([rows, -rows])), len(rows)
        factor, size = np.concatenate(self._factors), np.abs(np.concatenate(self._ends, axis=1)).max(axis=0)
        matrix = below.matrix.toarray() * factor
        low, high = below.constant[:m] - below.error[:m], below.error[m:] - below.constant[m:]
        with np.errstate(invalid="ignore", over="ignore"):  # where bounds are infinite nothing is claimed
            constant = 0.5 * (low + high)
            # A sum and its negative are rounded alike: the two sides have the same matrix; if not, they differ by that.
            lost = np.abs(matrix[:m] + matrix[m:]) + _DOUBT * np.abs(matrix[:m])
            doubt = _DOUBT * (np.abs(low) + np.abs(high)) + BINARY64.tiny * (1 + size.sum())
            radius = (np.maximum(high - constant, constant - low) + lost @ size + doubt) * (1 + _DOUBT)
        return Affine(matrix[:m], constant, radius)


def _padded(affine: Affine, width: int) -> Affine:
    """Return functions of the first columns as functions of all."""
    return affine._replace(matrix=np.pad(affine.matrix, ((0, 0), (0, width - affine.matrix.shape[1]))))


def _share(bounds: Propagation, node: Node) -> Tensor | None:
    """Return a, (1, 1, *shape or 1), of a rectifier max(z, a z); -1 of the absolute value 2 r - z; None elsewhere."""
    kind, ones = node.kind, torch.ones(1, 1, *(1,) * len(node.shape), dtype=torch.float64)
    if isinstance(kind, PReLU):
        return bounds.parameters[kind.slope].view(1, 1, -1, *(1,) * (len(node.shape) - 1))
    if not isinstance(kind, Elementwise):
        return None
    if kind.function == "leaky_relu":
        return ones * (kind.arguments or (0.01,))[0]
    return {"relu": 0.0 * ones, "abs": -ones}.get(kind.function)


def _name(node: Node) -> str:
    return node.kind.function if isinstance(node.kind, Elementwise) else type(node.kind).__name__
