"""`Curve`: a function of one variable, cut where its convexity changes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.certificates.arithmetic import Format
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
    inner
        From the box of x, the largest magnitude that a kernel meets on its way to f, where that is more than f's.
    flushed
        How far apart values of f may lie at numbers below 2^-126 in size, which kernels may take for 0.
    floor
        A number that kernels never go below.
    increasing
        Whether f and its kernel never decrease, and f has a value everywhere.
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
    inner: Callable[[Box], Tensor] | None = None
    flushed: float = 2.0**-124
    floor: float = -math.inf
    increasing: bool = False
    low: float = -math.inf
    pole: float = math.nan

    def interval(self, box: Box) -> Box:
        """Return the least and the greatest of f at the ends and the turning points inside; no rounding covered."""
        low, high = self.value(box.low), self.value(box.high)
        if self.increasing:
            return Box(low, high)
        least, most = torch.minimum(low, high), torch.maximum(low, high)
        for turn in self.turns:
            inside = (box.low < turn) & (box.high > turn)
            extreme = self.value(torch.full_like(box.low, turn))
            least = torch.where(inside, torch.minimum(least, extreme), least)
            most = torch.where(inside, torch.maximum(most, extreme), most)
        unknown = self.unknown(box)
        return Box(torch.where(unknown, -math.inf, least), torch.where(unknown, math.inf, most))

    def unknown(self, box: Box) -> Tensor:
        """Return where f has no value, or no bound, somewhere on the box."""
        return (box.low <= self.low) | ((box.low <= self.pole) & (box.high >= self.pole))

    def cuts_in(self, box: Box) -> Sequence[float | Tensor]:
        """Return the cuts that matter on the box: numbers, or one per entry."""
        return self.cuts

    def whole(self, box: Box) -> Tensor | None:
        """Return where the least and the greatest value are all that is known; None if nowhere."""
        return None

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

        In float64 that is what `interval` may be off by, the jump included. In float32 the jump counts where rounding
        may lead to the other side of a cut.
        """
        if self.ulps == 0:
            return 0.0
        size = values.magnitude + self.reach * box.magnitude + self.offset
        error = self.ulps * format.unit * size + format.tiny
        if not format.flushes:
            return error + self.jump
        small = (box.low < format.tiny) & (box.high > -format.tiny)
        error = torch.where(small, error + self.flushed, error)
        for cut in self.cuts if self.jump else ():
            near = 2.0**-20 * abs(cut) + format.tiny
            error = torch.where((box.low <= cut + near) & (box.high >= cut - near), error + self.jump, error)
        return error

    def lowest(self, box: Box) -> Tensor | float:
        """Return the number that kernels never go below, -infinity where f has no value on some of the box."""
        return torch.where(self.unknown(box), -math.inf, self.floor)

    def intermediate(self, box: Box, values: Box) -> Tensor:
        """Return a bound on the magnitude of everything a kernel meets, from the boxes of x and of f."""
        return values.magnitude if self.inner is None else torch.maximum(values.magnitude, self.inner(box))
