"""`Curve`: a function of one variable, cut where its convexity changes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64, Format
from epsball.certificates.box import Box


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A function f, convex or concave between neighbouring cuts.

    Cuts and turns that are not floats are stored as the nearest floats. Near them the first three derivatives are
    at most 4 in size, so that this changes no bound by more than `error` and `linear_relaxation` allow for rounding.

    Parameters
    ----------
    value, slope
        f, and its derivative between the cuts.
    cuts
        Where convexity may change, increasing; kinks among them.
    convex
        For each of the ``len(cuts) + 1`` pieces from left to right, whether f is convex there (a straight
        piece may be called either).
    straight
        Whether every piece is straight, so that tighter bounds help only where a cut lies inside.
    turns
        Where f may have a local extremum between its ends.
    ulps, reach, offset
        The assumption on kernels: abs(computed - f(x)) <= ulps unit (abs(f(x)) + reach abs(x) + offset); 0 ulps
        is exact.
    jump
        How far f may jump at a cut.
    floor
        A number that kernels never go below.
    low, pole
        Inputs at or below `low`, and intervals that contain `pole`, have no bounds.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    cuts: tuple[float, ...] = ()
    convex: tuple[bool, ...] = (True,)
    straight: bool = False
    turns: tuple[float, ...] = ()
    ulps: float = 16.0
    reach: float = 0.0
    offset: float = 0.0
    jump: float = 0.0
    floor: float = -math.inf
    low: float = -math.inf
    pole: float = math.nan

    def interval(self, box: Box) -> Box:
        """Return the least and the greatest of f at the ends and the turning points inside; no rounding covered."""
        low, high = self.value(box.low), self.value(box.high)
        least, most = torch.minimum(low, high), torch.maximum(low, high)
        for turn in self.turns:
            inside = (box.low < turn) & (box.high > turn)
            extreme = self.value(torch.full_like(box.low, turn))
            least = torch.where(inside, torch.minimum(least, extreme), least)
            most = torch.where(inside, torch.maximum(most, extreme), most)
        outside = (box.low <= self.low) | ((box.low <= self.pole) & (box.high >= self.pole))
        return Box(torch.where(outside, -math.inf, least), torch.where(outside, math.inf, most))

    def unstable(self, box: Box) -> Tensor:
        """Return where tighter bounds make tighter lines: around a cut, or everywhere if the curve is bent."""
        if not self.straight:
            return box.high > box.low
        inside = torch.zeros_like(box.low, dtype=torch.bool)
        for cut in self.cuts:
            inside |= (box.low < cut) & (box.high > cut)
        return inside

    def error(self, box: Box, values: Box, format: Format) -> Tensor | float:
        """Return a bound on what computing f in `format` over the box can be off by, under the assumption.

        In float64 that is what `interval` may be off by, the jump included.
        """
        jump = self.jump if format is BINARY64 else 0.0
        if self.ulps == 0:
            return jump
        size = values.magnitude + self.reach * box.magnitude + self.offset
        return self.ulps * format.unit * size + (format.tiny + jump)
