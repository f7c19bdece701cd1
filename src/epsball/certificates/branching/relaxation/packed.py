"""`Packed`: a reduced network and rows over it as the arrays that compiled sweeps take."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from epsball.certificates.branching.relaxation import kernels
from epsball.certificates.branching.relaxation.matrices import Matrix
from epsball.certificates.branching.relaxation.reduced import Functions, Matrices
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.relaxation.subproblems import Bound, Envelope, Parts, Schedule

MANY = 512
"""Rectifiers from which on sweeps are compiled ones: networks of fewer are searched before these would be compiled."""


@cache
def compile_sweeps(dtype: torch.dtype) -> None:
    """Compile the sweeps, or read them where an earlier process left them: some seconds, and no part of a search's."""
    one, nothing = torch.ones(1, 1, dtype=dtype), torch.zeros(1, dtype=dtype)
    functions = Functions(one, (one,), nothing)
    layer = Matrices(Matrix(one), (), nothing)
    region = Region(-one[0], one[0], nothing, "linf", 1.0)
    packed = Packed([layer], [None], functions, region, one[0], one[0])
    parts = Parts(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int8), one, 0 * one)
    packed.ascended(parts, Schedule(1, 0.1), None, (0.9, 0.99))
    packed.bounds(parts)


class Packed:
    """Rows over the layers of a reduced network, for compiled sweeps.

    Parameters
    ----------
    layers, envelopes
        The layers, and the envelopes above their rectifiers.
    functions
        The rows.
    region
        The domain: a box, or a ball of l2 and its box.
    chord, intercept
        The line above each rectifier, (m,).
    """

    def __init__(
        self,
        layers: Sequence[Matrices],
        envelopes: Sequence[Envelope | None],
        functions: Functions,
        region: Region,
        chord: Tensor,
        intercept: Tensor,
    ) -> None:
        dtype = functions.constant.dtype
        taken = [_joined([layer.over_input, *layer.over_layers]) for layer in layers]
        above = [(np.zeros(len(layer.constant), np.int64), *_none(dtype)) for layer in layers]
        offset, shared = torch.zeros_like(chord), torch.zeros(len(chord), dtype=torch.bool)
        at = 0
        for k, (layer, envelope) in enumerate(zip(layers, envelopes, strict=True)):
            here = slice(at, at := at + len(layer.constant))
            if envelope is not None:
                above[k] = _joined([envelope.g])
                offset[here], shared[here] = envelope.h, True
        constant = torch.cat([chord[:0], *(layer.constant for layer in layers)])
        self.network = kernels.Network(
            taken=_stacked(taken, dtype),
            constant=constant.numpy(),
            chord=chord.numpy(),
            intercept=intercept.numpy(),
            above=_stacked(above, dtype),
            offset=offset.numpy(),
            shared=shared.numpy(),
            low=region.low.numpy(),
            high=region.high.numpy(),
            centre=region.centre.numpy(),
            radius=float(region.radius),
            round=region.norm == "l2",
        )
        self._over = torch.cat([functions.over_input, *functions.over_layers], dim=1).numpy()
        self._constant = functions.constant.numpy()

    def ascended(
        self, parts: Parts, schedule: Schedule, unit: Tensor | None, decays: tuple[float, float]
    ) -> tuple[Parts, Bound]:
        """Return what `Dual.ascend` does."""
        b, d = len(parts.rows), len(self.network.low)
        slopes, multipliers = (part.contiguous().clone() for part in (parts.slopes, parts.multipliers))
        value, coefficients = slopes.new_empty(b), torch.zeros_like(slopes)
        points = torch.from_numpy(self.network.high).expand(b, d).clone()
        units = slopes[:0] if unit is None else unit.to(slopes).contiguous()
        steps = (float(schedule.steps), schedule.slope_step, schedule.multiplier_step, schedule.decay, *decays)
        arrays = (slopes, multipliers, units, value, coefficients, points)
        slopes_, multipliers_, units_, *found = (one.numpy() for one in arrays)
        kernels.ascend(self.network, self._rows(parts), _states(parts), slopes_, multipliers_, units_, steps, *found)
        return Parts(parts.rows, parts.states, slopes, multipliers), Bound(value, coefficients, points)

    def bounds(self, parts: Parts) -> Tensor:
        """Return the bounds of subproblems, (b,)."""
        value = parts.slopes.new_empty(len(parts.rows))
        slopes, multipliers = (part.contiguous().numpy() for part in (parts.slopes, parts.multipliers))
        kernels.bound(self.network, self._rows(parts), _states(parts), slopes, multipliers, value.numpy())
        return value

    def _rows(self, parts: Parts) -> kernels.Rows:
        return kernels.Rows(self._over, self._constant, parts.rows.contiguous().numpy())


def _states(parts: Parts) -> np.ndarray:
    return parts.states.contiguous().numpy()


def _none(dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int32), torch.zeros(0, dtype=dtype).numpy()


def _joined(parts: Sequence[Matrix]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return matrices side by side: entries by row, and the column and value of each, row by row."""
    rows, columns, values, start = [], [], [], 0
    for matrix in parts:
        at, column, value = matrix.entries()
        rows.append(at)
        columns.append(column + start)
        values.append(value)
        start += matrix.width
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=parts[0].height)
    return counts, np.concatenate(columns)[order].astype(np.int32), np.concatenate(values)[order]


def _stacked(parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], dtype: torch.dtype) -> kernels.Entries:
    """Return the rows of several matrices, one below the other."""
    counts = np.concatenate([np.zeros(1, np.int64), *(count for count, _, _ in parts)])
    nothing = _none(dtype)
    columns = np.concatenate([nothing[0], *(column for _, column, _ in parts)])
    values = np.concatenate([nothing[1], *(value for _, _, value in parts)])
    return kernels.Entries(starts=np.cumsum(counts), columns=columns, weights=np.ascontiguousarray(values))
