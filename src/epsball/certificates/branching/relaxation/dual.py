"""The bound of a subproblem, batched: slopes and multipliers, their ascent, and where the relaxation attains it.

A subproblem is a row of margins and a state per rectifier: free, on (z >= 0) or off (z <= 0). With A_k the coefficient
on r_k, relu(z) >= alpha z and relu(z) <= s z + t where free, r = z where on and r = 0 where off, and multipliers
beta >= 0 of sign z >= 0 where split,

    A_k . r_k >= (max(A_k, 0) alpha + min(A_k, 0) s - sign beta) . z_k + min(A_k, 0) . t.

References
----------
Wang et al., "Beta-CROWN: efficient bound propagation with per-neuron split constraints for neural network robustness
verification" (NeurIPS 2021).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.branching.relaxation.packed import MANY, Packed
from epsball.certificates.branching.relaxation.reduced import Functions, Layer
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.relaxation.subproblems import Bound, Envelope, Parts, Schedule

_FIRST, _SECOND = 0.9, 0.99
"""Decay of Adam's moments: few steps are taken."""


class _Columns(NamedTuple):
    """Subproblems as columns, (m, b) each: what their states make of the lines around the rectifiers.

    Parameters
    ----------
    rows
        As in `Parts`.
    free, on
        Where a rectifier is free, and 1 where it is on and 0 elsewhere.
    chord, intercept
        The line above each rectifier.
    pull
        sign beta.
    slopes
        As in `Parts`.
    """

    rows: Tensor
    free: Tensor
    on: Tensor
    chord: Tensor
    intercept: Tensor
    pull: Tensor
    slopes: Tensor


class _Found(NamedTuple):
    """A bound by column, (b,), the coefficients A_k by layer, (m_k, b), and where it is attained, (d, b)."""

    value: Tensor
    over: list[Tensor]
    point: Tensor


class Dual:
    """Rows of functions over the layers of a reduced network on one domain.

    Parameters
    ----------
    layers
        The layers.
    functions
        What is bounded: R functions of the input and the layers.
    region
        The domain.
    dtype
        The format of the search.
    """

    def __init__(self, layers: Sequence[Layer], functions: Functions, region: Region, dtype: torch.dtype) -> None:
        self.layers = [layer.matrices(dtype) for layer in layers]
        self.functions, self.region, self.dtype = functions.to(dtype), region, dtype
        chords = [layer.chord for layer in layers]
        none = torch.zeros(0, dtype=torch.float64)
        self.chord = torch.cat([none, *(slope for slope, _ in chords)]).to(dtype)
        self.intercept = torch.cat([none, *(intercept for _, intercept in chords)]).to(dtype)
        self.start = (self.chord > 0.5).to(dtype)
        decided = [(layer.low >= 0).to(torch.int8) - (layer.high <= 0).to(torch.int8) for layer in layers]
        self.decided = 2 * torch.cat([torch.zeros(0, dtype=torch.int8), *decided])
        widths = [len(layer) for layer in layers]
        self.slices = [slice(sum(widths[:k]), sum(widths[: k + 1])) for k in range(len(widths))]
        self.envelopes = [None] * len(layers)
        self.passes = 0

    @property
    def envelopes(self) -> Sequence[Envelope | None]:
        """The envelopes above the rectifiers of each layer, or None."""
        return self._envelopes

    @envelopes.setter
    def envelopes(self, envelopes: Sequence[Envelope | None]) -> None:
        self._envelopes, self._arrays = envelopes, None

    @property
    def units(self) -> int:
        """The number of rectifiers."""
        return len(self.chord)

    @property
    def shared(self) -> Tensor:
        """Which rectifiers have envelopes, (m,)."""
        shared = torch.zeros(self.units, dtype=torch.bool)
        for at, envelope in zip(self.slices, self.envelopes, strict=True):
            shared[at] = envelope is not None
        return shared

    def root(self, rows: Tensor) -> Parts:
        """Return the whole domain as a subproblem of each row."""
        shape = (len(rows), self.units)
        nothing = torch.zeros(shape, dtype=self.dtype)
        return Parts(rows, self.decided.expand(shape).clone(), self.start.expand(shape).clone(), nothing)

    def linear(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return value + rows . x, (b,) and (b, d), below the functions."""
        value, over_input, _ = self._linear(self._columns(parts))
        return value, over_input.T

    def bound(self, parts: Parts) -> Bound:
        """Return the bounds of subproblems."""
        return self._rows(self._bound(self._columns(parts)))

    def values(self, parts: Parts) -> Tensor:
        """Return the bounds of subproblems alone, (b,)."""
        if (packed := self._packed()) is None:
            return self.bound(parts).value
        self.passes += len(parts.rows)
        return packed.bounds(parts)

    def inputs(self, parts: Parts, bound: Bound) -> tuple[Tensor, Tensor, Tensor]:
        """Return where the bound is attained z and the relaxed r of each rectifier, and the slope of r in `slopes`.

        Each is (b, m). The last is z below the rectifier, and above it what an envelope exceeds the chord by.
        """
        over = [bound.coefficients[:, at].T for at in self.slices]
        found = self._inputs(self._columns(parts), _Found(bound.value, over, bound.point.T.contiguous()))
        return found[0].T, found[1].T, found[2].T

    def _packed(self) -> Packed | None:
        """Return all of it for compiled sweeps; None for few rectifiers, and balls of l1, which take a sort by row."""
        if self._arrays is None and self.units >= MANY and self.region.norm != "l1":
            lines = self.chord, self.intercept
            self._arrays = Packed(self.layers, self.envelopes, self.functions, self.region, *lines)
        return self._arrays

    def _columns(self, parts: Parts) -> _Columns:
        states = parts.states.T.contiguous()
        free = states == 0
        return _Columns(
            rows=parts.rows,
            free=free,
            on=(states > 0).to(self.dtype),
            chord=torch.where(free, self.chord.unsqueeze(1), (states > 0).to(self.dtype)),
            intercept=self.intercept.unsqueeze(1) * free,
            pull=states.clamp(-1, 1).to(self.dtype) * parts.multipliers.T,
            slopes=parts.slopes.T.contiguous(),
        )

    def _rows(self, found: _Found) -> Bound:
        none = found.value.new_zeros(0, len(found.value))
        return Bound(found.value, torch.cat([none, *found.over]).T.contiguous(), found.point.T)

    def _unit(self, found: _Found) -> Tensor:
        size = torch.cat([found.value.new_zeros(0, len(found.value)), *found.over]).abs()
        return size + 0.05 * size.amax(dim=0) if len(size) else size

    def _linear(self, columns: _Columns) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return value + rows . x, (b,) and (d, b), below the functions, and the coefficients A_k on the way."""
        self.passes += len(columns.rows)
        lower = torch.where(columns.free, columns.slopes, columns.on)
        value = self.functions.constant[columns.rows]
        over_input = self.functions.over_input[columns.rows].T.contiguous()
        over = [part[columns.rows].T.contiguous() for part in self.functions.over_layers]
        for k in range(len(self.layers) - 1, -1, -1):
            layer, at, envelope = self.layers[k], self.slices[k], self.envelopes[k]
            above, below = over[k].clamp(min=0), over[k].clamp(max=0)
            if envelope is not None:
                shared = below * columns.slopes[at] * columns.free[at]
                below = below - shared
                value = value + envelope.h @ shared
                over_input += envelope.g.back(shared)
            values = (above * lower[at]).addcmul_(below, columns.chord[at]).sub_(columns.pull[at])
            value = value + (below * columns.intercept[at]).sum(dim=0) + layer.constant @ values
            over_input += layer.over_input.back(values)
            for j in range(k):
                over[j] += layer.over_layers[j].back(values)
        return value, over_input, over

    def _bound(self, columns: _Columns) -> _Found:
        value, over_input, over = self._linear(columns)
        least, point = self.region.least(over_input)
        return _Found(value + least, over, point)

    def _inputs(self, columns: _Columns, found: _Found) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `inputs` does, (m, b) each."""
        self.passes += len(columns.rows)
        z, r, rise = (torch.zeros_like(columns.slopes) for _ in range(3))
        for k, at in enumerate(self.slices):
            layer, envelope, free = self.layers[k], self.envelopes[k], columns.free[at]
            taken = layer.over_input.times(found.point) + layer.constant.unsqueeze(1)
            for j, before in enumerate(self.slices[:k]):
                taken += layer.over_layers[j].times(r[before])
            z[at] = taken
            positive = found.over[k] >= 0
            line = torch.addcmul(columns.intercept[at], columns.chord[at], taken)
            over = None
            if envelope is not None:
                over = (envelope.g.times(found.point) + envelope.h.unsqueeze(1) - line) * free
                line = torch.addcmul(line, columns.slopes[at], over)
            lower = torch.where(free, columns.slopes[at], columns.on[at])
            r[at] = torch.where(positive, lower * taken, line)
            rise[at] = torch.where(positive, taken * free, 0.0 if over is None else over)
        return z, r, rise

    def ascend(self, parts: Parts, schedule: Schedule, unit: Tensor | None = None) -> tuple[Parts, Bound]:
        """Return subproblems with the best slopes and multipliers met, and their bounds.

        The gradient is exact: where the relaxation is least, d alpha = max(A, 0) z, d beta = -sign z, and
        d rho = min(A, 0) (envelope - chord). Steps of multipliers are in a unit (b, m), by default the coefficients'.
        """
        if (packed := self._packed()) is not None:
            self.passes += len(parts.rows) * (2 * schedule.steps + 1)
            return packed.ascended(parts, schedule, unit, (_FIRST, _SECOND))
        columns = self._columns(parts)
        sign = (parts.states.clamp(-1, 1) * (parts.states.abs() == 1)).to(self.dtype).T.contiguous()
        slopes, multipliers = columns.slopes, parts.multipliers.T.contiguous()
        moments = [torch.zeros_like(slopes) for _ in range(4)]
        best = bound = self._bound(columns)
        kept = slopes.clone(), multipliers.clone()
        unit = self._unit(bound) if unit is None else unit.T
        for step in range(schedule.steps):
            z, _, rise = self._inputs(columns, bound)
            shrunk = schedule.decay**step
            moved = adam(torch.cat([slopes[:0], *bound.over]).mul_(rise), moments[:2], step)
            slopes.add_(moved, alpha=schedule.slope_step * shrunk).clamp_(0.0, 1.0)
            if schedule.multiplier_step:
                moved = adam(z.mul_(sign).neg_(), moments[2:], step)
                multipliers.addcmul_(moved, unit, value=schedule.multiplier_step * shrunk).clamp_(min=0.0)
                columns = columns._replace(pull=sign * multipliers)
            bound = self._bound(columns)
            better = bound.value > best.value
            for whole, new in zip(kept, (slopes, multipliers), strict=True):
                whole.copy_(_where(better, new, whole))
            best = _Found(
                torch.maximum(bound.value, best.value),
                [_where(better, new, old) for new, old in zip(bound.over, best.over, strict=True)],
                _where(better, bound.point, best.point),
            )
        found = Parts(parts.rows, parts.states, kept[0].T.contiguous(), kept[1].T.contiguous())
        return found, self._rows(best)


def _where(columns: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return some columns of one matrix, (b,), and the others of another; most steps improve all or none."""
    if bool(columns.all()):
        return new
    return torch.where(columns, new, old) if bool(columns.any()) else old


def adam(gradient: Tensor, moments: Sequence[Tensor], step: int) -> Tensor:
    """Return Adam's direction, its moments updated in place."""
    first, second = moments
    first.lerp_(gradient, 1 - _FIRST)
    second.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
    scale = (1 - _SECOND ** (step + 1)) ** 0.5 / (1 - _FIRST ** (step + 1))
    return first.mul(scale).div_(second.sqrt().add_(1e-12))
