"""Lines below and above a curve over an interval, verified in floating point.

For a slope k, the best intercepts are the extremes over [l, u] of g(x) = f(x) - k x. On a piece [a, b] where g is
concave its least value is at an end. On one where g is convex, for every p inside,

    g(x) >= g(p) + g'(p) (x - p) >= g(p) - max(g'(p), 0) (p - a) - max(-g'(p), 0) (b - p),

so any approximate root p of g' gives a valid bound, and a good one gives the best. No root has to be exact and no
slope right: only f and f' have to be evaluated with a known error.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.curves.curve import Curve

_ROUNDING = 2.0**-46
"""Covers 16 units in the kernels' values and a dozen roundings after them: 128 units of 2^-53."""

_CHORD_ROUNDING = 2.0**-49
"""Covers the few roundings in the intercept of a rectifier's chord."""

_POINTS = 17
_BISECTIONS = 50


class LinearRelaxation(NamedTuple):
    """lower_slope x + lower <= f(x) <= upper_slope x + upper, entry by entry, as real numbers."""

    lower_slope: Tensor
    lower: Tensor
    upper_slope: Tensor
    upper: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "LinearRelaxation":
        """Return the relaxation with a function of tensors applied to each of its four parts."""
        return LinearRelaxation(*map(function, self))

    def for_rows(self) -> "LinearRelaxation":
        """Return the relaxation with an axis of length 1 for the rows that are carried through it."""
        return self.map(lambda part: part.unsqueeze(1))


def linear_relaxation(curve: Curve, low: Tensor, high: Tensor) -> LinearRelaxation:
    """Return a line below and a line above the curve on [low, high], each near its best in the middle.

    The line that is highest at the middle is that of least area between it and the curve.
    """
    below = _envelope_slope(curve, low, high, sign=1.0)
    above = _envelope_slope(curve, low, high, sign=-1.0)
    lines = LinearRelaxation(
        below,
        intercept_below(curve, low, high, below, sign=1.0),
        above,
        -intercept_below(curve, low, high, above, sign=-1.0),
    )
    whole = curve.whole(Box(low, high))
    if whole is None:
        return lines
    flat, (least, most) = torch.zeros_like(low), curve.interval(Box(low, high))
    doubt = _ROUNDING * (1 + torch.maximum(least.abs(), most.abs()))
    level = LinearRelaxation(flat, least - doubt, flat, most + doubt)
    return LinearRelaxation(*(torch.where(whole, *pair) for pair in zip(level, lines, strict=True)))


def _envelope_slope(curve: Curve, low: Tensor, high: Tensor, *, sign: float) -> Tensor:
    """Return the slope, at the middle, of the convex envelope of sign f through `_POINTS` equally spaced points.

    That is the chord, over a point left and a point right of the middle, that passes lowest there; where no
    chord passes below the curve, or only that of the next points does, it is the derivative.
    """
    half = _POINTS // 2
    width = high - low
    points = [low + width * (index / (_POINTS - 1)) for index in range(_POINTS)]
    values = [sign * curve.value(point) for point in points]
    best = values[half]
    slope = sign * curve.slope(points[half])
    for left in range(half):
        for right in range(half + 1, _POINTS):
            if right - left == 2:
                continue
            rise = values[right] - values[left]
            at_middle = values[left] + rise * ((half - left) / (right - left))
            lower = at_middle < best
            best = torch.where(lower, at_middle, best)
            slope = torch.where(lower, rise / (points[right] - points[left]), slope)
    return torch.where(torch.isfinite(slope), sign * slope, 0.0)


def intercept_below(curve: Curve, low: Tensor, high: Tensor, slope: Tensor, *, sign: float) -> Tensor:
    """Return c with sign f(x) >= sign slope x + c for every x in [low, high], as real numbers; -inf if there is none.

    `doubt` covers the rounding of every g below (16 units of the curve's offset are 2^-46 of an eighth of it) and,
    with curves as `Curve` describes them, cuts that are stored inexactly and values of f inside that exceed those at
    the ends (by less than 1).
    """
    cuts = curve.cuts_in(Box(low, high))
    ends = [low, *(low.maximum(torch.as_tensor(cut, dtype=low.dtype)).minimum(high) for cut in cuts), high]

    def g(x: Tensor) -> Tensor:
        return sign * (curve.value(x) - slope * x)

    least = torch.minimum(g(low), g(high))
    for start, end, convex in zip(ends, ends[1:], curve.convex, strict=False):
        least = torch.minimum(least, g(end))
        if convex == (sign > 0):
            least = torch.minimum(least, _least_if_convex(curve, g, start, end, slope, sign))
    size = torch.maximum(low.abs(), high.abs())
    most = torch.maximum(curve.value(low).abs(), curve.value(high).abs())
    doubt = _ROUNDING * (most + size * (1 + slope.abs()) + max(1.0, curve.offset / 4))
    return torch.where(curve.unknown(Box(low, high)), -math.inf, least - doubt - curve.jump)


def _least_if_convex(curve: Curve, g, start: Tensor, end: Tensor, slope: Tensor, sign: float) -> Tensor:
    """Return a lower bound of g on [start, end], where it is convex: by its tangent near where it is flattest.

    The point is kept off the ends, where the derivative may be that of the next piece.
    """
    left, right = start, end
    for _ in range(_BISECTIONS):
        middle = 0.5 * (left + right)
        rising = sign * (curve.slope(middle) - slope) > 0
        left, right = torch.where(rising, left, middle), torch.where(rising, middle, right)
    inside = torch.nextafter(start, end), torch.nextafter(end, start)
    point = (0.5 * (left + right)).maximum(inside[0]).minimum(inside[1])
    derivative = curve.slope(point)
    doubt = _ROUNDING * (derivative.abs() + slope.abs() + 1)
    tilt = sign * (derivative - slope)
    falls = (tilt + doubt).clamp(min=0) * (point - start) + (doubt - tilt).clamp(min=0) * (end - point)
    return torch.where(end > start, g(point) - falls, g(end))


def rectifier_relaxation(low: Tensor, high: Tensor, below: Tensor | float) -> LinearRelaxation:
    """Return the chord and the supporting line of least area of max(x, a x) (a <= 1) or min(x, a x) (a > 1).

    Where the sign of x is known both lines are the function. Else one is the chord from (l, a l) to (u, u),
    its slope s of any rounding and its intercept moved outward until it holds at both ends, and the
    other passes through 0 with slope 1 or a, whichever encloses less.

    References
    ----------
    Zhang et al., "Efficient neural network robustness certification with general activation functions"
    (NeurIPS 2018): the adaptive choice of the lower slope.
    """
    below = torch.as_tensor(below, dtype=low.dtype, device=low.device).expand(low.shape)
    one, zero = torch.ones_like(low), torch.zeros_like(low)
    crossing = (low < 0) & (high > 0)
    known = torch.where(low >= 0, one, below)
    span = torch.where(crossing, high - low, one)
    chord = torch.where(crossing, (high - below * low) / span, known)
    at_low, at_high = (below - chord) * low, (1 - chord) * high
    with torch.no_grad():  # far below what training sees
        size = (below.abs() + chord.abs()) * low.abs() + (1 + chord.abs()) * high.abs()
        doubt = _CHORD_ROUNDING * size + 2.0**-1060
    above = torch.where(crossing, torch.maximum(at_low, at_high) + doubt, zero)
    support = torch.where(crossing, torch.where(high > -low, one, below), known)
    convex = below <= 1
    if bool(convex.all()):
        return LinearRelaxation(support, zero, chord, above)
    under = torch.where(crossing, torch.minimum(at_low, at_high) - doubt, zero)
    return LinearRelaxation(
        torch.where(convex, support, chord),
        torch.where(convex, zero, under),
        torch.where(convex, chord, support),
        torch.where(convex, above, zero),
    )


def relu_relaxation_in_training(low: Tensor, high: Tensor) -> LinearRelaxation:
    """Return `rectifier_relaxation` of the ReLU with fewer operations to differentiate, and none for rounding.

    With l' = min(l, 0) and u' = max(u, 0) the chord's slope is u' / (u' - l') and its intercept -l' u' / (u' - l'),
    also where the sign of x is known: the slope is 1 or 0 there and the intercept 0.
    """
    below, above = low.clamp(max=0.0), high.clamp(min=0.0)
    chord = above / (above - below).clamp(min=torch.finfo(low.dtype).tiny)
    support = (above > -below).to(low.dtype)
    return LinearRelaxation(support, torch.zeros_like(support), chord, -below * chord)
