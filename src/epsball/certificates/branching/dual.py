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

from epsball.certificates.branching.reduced import Functions, Layer
from epsball.certificates.branching.region import Region

_FIRST, _SECOND = 0.9, 0.99
"""Decay of Adam's moments: few steps are taken."""


class Parts(NamedTuple):
    """Subproblems: by row of a batch which function is bounded, and its multipliers.

    Parameters
    ----------
    rows
        The number of the function of each, (b,).
    states
        (b, m) over the rectifiers of all layers: 0 free, 1 on, -1 off; 2 and -2 where it follows from a split beside.
    slopes, multipliers
        alpha and beta, (b, m). Where A is negative and there are envelopes alpha does not matter, and the same number
        is rho, the envelope's share.
    """

    rows: Tensor
    states: Tensor
    slopes: Tensor
    multipliers: Tensor

    def take(self, at: Tensor | slice) -> "Parts":
        """Return some of the subproblems."""
        return Parts(*(part[at] for part in self))


class Envelope(NamedTuple):
    """Functions g . x + h above a layer's rectifiers over the whole domain, (m, d) and (m,)."""

    g: Tensor
    h: Tensor


class Bound(NamedTuple):
    """Bounds of subproblems, and what is known where they are attained.

    Parameters
    ----------
    value
        (b,).
    coefficients
        A on each rectifier, (b, m).
    point
        Where the relaxation is least, (b, d).
    """

    value: Tensor
    coefficients: Tensor
    point: Tensor


class Schedule(NamedTuple):
    """Steps of an ascent: their number, the first step of slopes and of multipliers, and the decay of both."""

    steps: int
    slope_step: float
    multiplier_step: float = 0.0
    decay: float = 0.9


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
        self.layers = [layer.functions.to(dtype) for layer in layers]
        self.functions, self.region, self.dtype = functions.to(dtype), region, dtype
        chords = [layer.chord for layer in layers]
        none = torch.zeros(0, dtype=torch.float64)
        self.chord = torch.cat([none, *(slope for slope, _ in chords)]).to(dtype)
        self.intercept = torch.cat([none, *(intercept for _, intercept in chords)]).to(dtype)
        self.start = (self.chord > 0.5).to(dtype)
        widths = [len(layer) for layer in layers]
        self.slices = [slice(sum(widths[:k]), sum(widths[: k + 1])) for k in range(len(widths))]
        self.envelopes: list[Envelope | None] = [None] * len(layers)
        self.passes = 0

    @property
    def units(self) -> int:
        """The number of rectifiers."""
        return len(self.chord)

    def root(self, rows: Tensor) -> Parts:
        """Return the whole domain as a subproblem of each row."""
        shape = (len(rows), self.units)
        nothing = torch.zeros(shape, dtype=self.dtype)
        return Parts(rows, torch.zeros(shape, dtype=torch.int8), self.start.expand(shape).clone(), nothing)

    def linear(self, parts: Parts) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return value + rows . x, (b,) and (b, d), below the functions, and the coefficients A_k on the way."""
        self.passes += len(parts.rows)
        lower, upper, intercept = self._lines(parts)
        pull = parts.states.clamp(-1, 1).to(self.dtype) * parts.multipliers
        value = self.functions.constant[parts.rows]
        over_input = self.functions.over_input[parts.rows]
        over = [part[parts.rows] for part in self.functions.over_layers]
        for k in range(len(self.layers) - 1, -1, -1):
            layer, at, envelope = self.layers[k], self.slices[k], self.envelopes[k]
            above, below = over[k].clamp(min=0), over[k].clamp(max=0)
            if envelope is not None:
                shared = below * (parts.slopes[:, at] * (parts.states[:, at] == 0))
                below = below - shared
                value = value + shared @ envelope.h
                over_input = over_input + shared @ envelope.g
            values = torch.addcmul(above * lower[:, at], below, upper[:, at]) - pull[:, at]
            value = value + (below * intercept[:, at]).sum(dim=1) + values @ layer.constant
            over_input = over_input + values @ layer.over_input
            for j in range(k):
                over[j] = over[j] + values @ layer.over_layers[j]
        return value, over_input, over

    def bound(self, parts: Parts) -> Bound:
        """Return the bounds of subproblems."""
        value, over_input, over = self.linear(parts)
        least, point = self.region.least(over_input)
        none = value.new_zeros(len(value), 0)
        return Bound(value + least, torch.cat([none, *over], dim=1), point)

    def inputs(self, parts: Parts, bound: Bound) -> tuple[Tensor, Tensor, Tensor]:
        """Return where the bound is attained z and the relaxed r of each rectifier, and the slope of r in `slopes`.

        Each is (b, m). The last is z below the rectifier, and above it what an envelope exceeds the chord by.
        """
        self.passes += len(parts.rows)
        lower, upper, intercept = self._lines(parts)
        z, r, rise = torch.zeros_like(upper), torch.zeros_like(upper), torch.zeros_like(upper)
        for k, at in enumerate(self.slices):
            layer, envelope = self.layers[k], self.envelopes[k]
            taken = bound.point @ layer.over_input.T + layer.constant
            for j, before in enumerate(self.slices[:k]):
                taken = taken + r[:, before] @ layer.over_layers[j].T
            z[:, at] = taken
            positive = bound.coefficients[:, at] >= 0
            line = torch.addcmul(intercept[:, at], upper[:, at], taken)
            free = parts.states[:, at] == 0
            over = torch.zeros_like(line)
            if envelope is not None:
                over = bound.point @ envelope.g.T + envelope.h - line
                line = line + parts.slopes[:, at] * over * free
            r[:, at] = torch.where(positive, lower[:, at] * taken, line)
            rise[:, at] = torch.where(positive, taken, over) * free
        return z, r, rise

    def _lines(self, parts: Parts) -> tuple[Tensor, Tensor, Tensor]:
        """Return the slopes below and above each rectifier and the intercepts above, (b, m)."""
        free, on = parts.states == 0, (parts.states > 0).to(self.dtype)
        return (
            torch.where(free, parts.slopes, on),
            torch.where(free, self.chord, on),
            torch.where(free, self.intercept, 0.0),
        )

    def ascend(self, parts: Parts, schedule: Schedule) -> tuple[Parts, Bound]:
        """Return subproblems with the best slopes and multipliers met, and their bounds.

        The gradient is exact: where the relaxation is least, d alpha = max(A, 0) z, d beta = -sign z, and
        d rho = min(A, 0) (envelope - chord).
        """
        sign = parts.states.clamp(-1, 1).to(self.dtype)
        own = (parts.states.abs() == 1).to(self.dtype)
        slopes, multipliers = parts.slopes.clone(), parts.multipliers.clone()
        moments = [torch.zeros_like(slopes) for _ in range(4)]
        best = bound = self.bound(parts)
        kept = Parts(parts.rows, parts.states, slopes.clone(), multipliers.clone())
        size = bound.coefficients.abs()
        unit = size + 0.05 * size.amax(dim=1, keepdim=True) if size.shape[1] else size
        for step in range(schedule.steps):
            now = Parts(parts.rows, parts.states, slopes, multipliers)
            z, _, rise = self.inputs(now, bound)
            shrunk = schedule.decay**step
            moved = _adam(bound.coefficients * rise, moments[:2], step)
            slopes.add_(moved, alpha=schedule.slope_step * shrunk).clamp_(0.0, 1.0)
            if schedule.multiplier_step:
                moved = _adam(-sign * own * z, moments[2:], step)
                multipliers.add_(moved * unit, alpha=schedule.multiplier_step * shrunk).clamp_(min=0.0)
            bound = self.bound(now)
            better = (bound.value > best.value).unsqueeze(1)
            kept.slopes.copy_(torch.where(better, slopes, kept.slopes))
            kept.multipliers.copy_(torch.where(better, multipliers, kept.multipliers))
            best = Bound(
                torch.maximum(bound.value, best.value),
                torch.where(better, bound.coefficients, best.coefficients),
                torch.where(better, bound.point, best.point),
            )
        return kept, best


def _adam(gradient: Tensor, moments: Sequence[Tensor], step: int) -> Tensor:
    """Return Adam's direction, its moments updated in place."""
    first, second = moments
    first.lerp_(gradient, 1 - _FIRST)
    second.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
    scale = (1 - _SECOND ** (step + 1)) ** 0.5 / (1 - _FIRST ** (step + 1))
    return first.mul(scale).div_(second.sqrt().add_(1e-12))
