"""The linf norm: ball and box are one box, whose float bounds are exact."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball.ball.exact import beyond, float_above, float_below
from epsball.ball.norm import Ascent, Draw, pieces
from epsball.randomness import Keys


@dataclass(frozen=True)
class Bounds:
    """Ball and box in linf: a float lies in them if and only if low <= float <= high.

    Parameters
    ----------
    x
        Centres.
    low, high
        The least and largest floats of x's dtype in ball and box, so that a clamp is the exact projection.
    """

    x: Float[Tensor, "n d"]
    low: Float[Tensor, "n d"]
    high: Float[Tensor, "n d"]

    def project(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return the nearest floats in ball and box (NaN stays NaN)."""
        return torch.clamp(points, self.low, self.high)

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Return which rows the projection does not change."""
        moved = torch.clamp(points, self.low, self.high).sub_(points)
        return moved.abs_().amax(dim=1) == 0

    def take(self, rows: Tensor) -> "Bounds":
        """Return the bounds of some of the rows."""
        return Bounds(self.x[rows], self.low[rows], self.high[rows])


def upper_bound(x: Float[Tensor, "n d"], radius: Fraction) -> Float[Tensor, "n d"]:
    """Return the largest floats of x's dtype that are at most x + radius, exactly."""
    return torch.cat([_upper_bound(piece, radius) for piece in pieces(x)])


def _upper_bound(x: Float[Tensor, "n d"], radius: Fraction) -> Float[Tensor, "n d"]:
    """Return `upper_bound` of a piece.

    The float64 sum s of x and fl(radius) is within 2^-51 (max abs(x) + radius) of x + radius. So the
    side of s on which the nearest float lies is also its side of x + radius, unless it is that close to
    s. Those few floats are decided by error-free differences.
    """
    if x.numel() == 0:
        return x
    largest = torch.finfo(x.dtype).max
    centre = x.to(torch.float64)
    total = centre + float(radius)
    bound = total.to(x.dtype).clamp_(max=largest)
    excess = bound.to(torch.float64) - total
    # One float down where excess > 0, by arithmetic: selecting by a random mask costs ten times as much.
    too_far = excess.sign().clamp_(min=0.0).to(x.dtype)
    bound = torch.nextafter(bound, bound.sub(too_far, alpha=largest))
    doubt = 2.0**-51 * (float(x.abs().amax()) + float(radius))
    if float(excess.abs_().amin()) <= doubt:
        unsure = excess <= doubt
        bound[unsure] = _exact_bound(centre[unsure], radius, x.dtype)
    return bound


def _exact_bound(centre: Float[Tensor, " m"], radius: Fraction, dtype: torch.dtype) -> Float[Tensor, " m"]:
    """Return the largest floats of `dtype` that are at most centre + radius, deciding every step exactly.

    The sum with the radius in two parts is at most a few floats off, even if centre + radius cancels.
    """
    rounded = float(radius)
    bound = ((centre + rounded) + float(radius - Fraction(rounded))).to(dtype)
    down, up = bound.new_tensor(-math.inf), bound.new_tensor(math.inf)
    while bool((too_far := beyond(bound.to(torch.float64), centre, radius)).any()):
        bound = torch.where(too_far, torch.nextafter(bound, down), bound)
    while True:
        above = torch.nextafter(bound, up)
        too_far = beyond(above.to(torch.float64), centre, radius)
        if bool(too_far.all()):
            return bound
        bound = torch.where(too_far, bound, above)


@dataclass(frozen=True)
class MaxNorm:
    """The norm max_i abs(v_i), with its ascent and draws (see `epsball.ball.norm.Norm`)."""

    ascent: Ascent
    draw: Draw
    order: float = math.inf

    def within(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], radius: Fraction) -> Bool[Tensor, " n"]:
        """Return exactly which rows have abs(a_i - b_i) <= radius for every i.

        Rounding is monotone, so a rounded distance below or above fl(radius) decides; the few rows where
        they are equal are decided by `beyond`.
        """
        a, b = a.to(torch.float64), b.to(torch.float64)
        size = (a - b).abs_().amax(dim=1)
        inside = size < float(radius)
        unsure = size == float(radius)
        if bool(unsure.any()):
            inside[unsure] = ~beyond(a[unsure], b[unsure], radius).any(dim=1)
        return inside

    def around(self, x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float) -> Bounds:
        """Return the exact float bounds of ball and box around x."""
        return Bounds(
            x,
            (-upper_bound(-x, radius)).clamp_(min=float_above(low, x.dtype)),
            upper_bound(x, radius).clamp_(max=float_below(high, x.dtype)),
        )

    def shorten(
        self,
        d: Float[Tensor, "n d"],
        below: Float[Tensor, "n d"],
        above: Float[Tensor, "n d"],
        reach: Float[Tensor, "n 1"],
    ) -> Float[Tensor, "n d"]:
        """Return the displacements nearest to d that stay in the box and have a norm of at most `reach`."""
        reach = reach.to(d.dtype)
        return d.clamp(-reach, reach).clamp_(below, above)

    def nearest(
        self, points: Float[Tensor, "n d"], x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float
    ) -> Float[Tensor, "n d"]:
        """Return the nearest floats in ball and box."""
        return self.around(x, radius, low, high).project(points)


def ascent(gradient: Tensor, points: Tensor, low: float, high: float) -> Tensor:
    """Return sign(gradient), which maximises <gradient, v> over the unit ball."""
    return gradient.sign()


def draw(keys: Keys, d: int) -> Tensor:
    """Return coordinates drawn independently and uniformly from (-1, 1)."""
    return keys.uniform((d,)).mul_(2.0).sub_(1.0)


LINF = MaxNorm(ascent=ascent, draw=draw)
