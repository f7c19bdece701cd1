"""What l2 and l1 share: lengths are sums, so every statement carries a bound of its rounding."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball.ball.exact import float_above, float_below, inward, sum_within
from epsball.ball.norm import Ascent, Draw, extremes

Shrink = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

_UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
_FINE = 2.0**-50
_NOTHING = 1e-300


@dataclass(frozen=True)
class Rounding:
    """How far computed lengths can be from exact ones.

    The length computed of the computed a - b is norm(a - b)(1 + t) with abs(t) <= (1 + u)(1 + e) - 1, up to
    an absolute `tiny` where something underflows.

    Parameters
    ----------
    unit
        u, the unit roundoff of the points' type: one rounding a difference.
    error
        e, what computing a length of given coordinates adds; below 2^-10.
    tiny
        Bound of what underflow may add.
    """

    unit: float
    error: float
    tiny: float

    @classmethod
    def of(cls, x: Float[Tensor, "n d"], error: float) -> "Rounding":
        """Return the bounds for rows such as those of x; a square may vanish below the smallest normal number."""
        return cls(_UNIT[x.dtype], error + _FINE, x.shape[1] * math.sqrt(torch.finfo(x.dtype).tiny))

    def accept(self, radius: Fraction) -> float:
        """Return a level such that a computed length up to it belongs to an exact one <= radius."""
        return float_below(radius, torch.float64) * (1 - self.unit - self.error) - self.tiny

    def reject(self, radius: Fraction) -> float:
        """Return a level such that a finite computed length above it belongs to an exact one > radius."""
        return float_above(radius, torch.float64) * (1 + 1.01 * (self.unit + self.error)) + self.tiny

    def reach(self, radius: Fraction, size_of_x: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        """Return the length, at least 0, at which projections to centres of this length aim.

        The displacement w found is scaled to this computed length; then v = fl(c w) and z = fl(x + v)
        round each coordinate by at most u abs(v_i) and u abs(x_i + v_i), so that

            norm(z - x) <= (1 + u)^4 (1 + 1.01 e) reach + u norm(x).

        Reach is taken so small that the computed length of z - x, another (1 + u)(1 + e) larger at most,
        stays below `accept`: what was projected is inside, and known to be by the cheap test.
        """
        level = (self.accept(radius) - 10 * self.tiny) * (1 - 6 * self.unit - 2.2 * self.error)
        return (level - 1.1 * self.unit * size_of_x).clamp_(min=0.0)


def factor(reach: Float[Tensor, "n 1"], size: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
    """Return what scales a length `size` to `reach`, at most 2.

    It may exceed 1 where the solver stopped short: the box is seen to afterwards, and only shortens.
    """
    return (reach / size.clamp(min=_NOTHING)).clamp_(max=2.0)


@dataclass(frozen=True)
class SumRegion:
    """Ball and box in l2 or l1, with projections that are cheap and never leave them.

    The stated shrink: the length of what `project` moves lies between (1 - 2^-14) reach and `reach`, in
    practice within 1e-6 of it, and with u and e of `Rounding` reach is radius - (7 u + 3.2 e) radius
    - 1.1 u norm(x). For float32, 3072 coordinates of norm 28 and an l2 radius of 0.5 that is 1.1e-5 of the
    radius below it.

    Parameters
    ----------
    norm, radius
        The norm and the exact radius.
    x
        Centres.
    low, high
        The extreme floats of x's dtype in the box, or infinities.
    below, above
        low - x and high - x.
    reach, accept, reject
        See `Rounding`.
    """

    norm: "SumNorm"
    radius: Fraction
    x: Float[Tensor, "n d"]
    low: float
    high: float
    below: Float[Tensor, "n d"]
    above: Float[Tensor, "n d"]
    reach: Float[Tensor, "n 1"]
    accept: float
    reject: float

    def project(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return points of ball and box, nearest up to the stated shrink (NaN stays NaN).

        Points whose clamp to the box is surely in the ball stay there, so the projection is idempotent.
        """
        d = points - self.x
        # Rounding is monotone: this is the computed difference of the clamped point and the centre.
        size = self.norm.length(d.clamp(self.below, self.above))
        smallest, greatest = extremes(size)
        if greatest <= self.accept:
            return points.clamp(self.low, self.high)
        w, found = self.norm.approach(d, self.below, self.above, self.reach, size)
        z = w.mul_(factor(self.reach, found).to(w.dtype)).add_(self.x).clamp_(self.low, self.high)
        if greatest == math.inf:
            far = size[:, 0] == math.inf
            z[far] = self.norm.nearest(points[far], self.x[far], self.radius, self.low, self.high)
        if smallest > self.accept:
            return z
        return torch.where(size <= self.accept, points.clamp(self.low, self.high), z)

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Return exactly which points lie in ball and box: by their lengths, else in integers."""
        size = self.norm.length(points - self.x)[:, 0]
        in_box = (points.amin(dim=1) >= self.low) & (points.amax(dim=1) <= self.high)
        inside = in_box & (size <= self.accept)
        if bool(inside.all()):
            return inside
        unsure = in_box & ~inside & ~((size > self.reject) & size.isfinite())
        inside[unsure] = self.norm.within(points[unsure], self.x[unsure], self.radius)
        return inside

    def take(self, rows: Tensor) -> "SumRegion":
        """Return the region of some of the rows."""
        return replace(self, x=self.x[rows], below=self.below[rows], above=self.above[rows], reach=self.reach[rows])


@dataclass(frozen=True)
class SumNorm:
    """The norm (sum_i abs(v_i)^p)^(1/p), p = 1 or 2 (see `epsball.ball.norm.Norm`).

    Parameters
    ----------
    order
        p.
    length
        The norm of each row, (n, d) to a float64 column (n, 1).
    error
        ``error(d, unit)``: bound of the relative error of `length` for d coordinates of a type of that unit
        roundoff.
    shrink
        ``shrink(d, below, above, reach, size) -> (w, length of w)`` in float64: the displacement w nearest
        to d with below <= w <= above and a length of `reach`, up to rounding. `size` is the length of
        clamp(d, below, above); rows where it is below `reach` may return anything.
    approach
        The same in d's own type, where w has a length within 2^-14 of `reach`: for loops.
    ascent, draw
        As in `Norm`.
    """

    order: int
    length: Callable[[Tensor], Tensor]
    error: Callable[[int, float], float]
    shrink: Shrink
    approach: Shrink
    ascent: Ascent
    draw: Draw

    def rounding(self, x: Float[Tensor, "n d"]) -> Rounding:
        """Return the bounds of lengths of rows such as those of x."""
        return Rounding.of(x, self.error(x.shape[1], _UNIT[x.dtype]))

    def within(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], radius: Fraction) -> Bool[Tensor, " n"]:
        """Return exactly which rows have norm(a - b) <= radius: by float64 lengths, else in integers."""
        a, b = a.to(torch.float64), b.to(torch.float64)
        rounding = self.rounding(a)
        size = self.length(a - b)[:, 0]
        inside = size <= rounding.accept(radius)
        unsure = ~inside & ~((size > rounding.reject(radius)) & size.isfinite())
        for row in unsure.nonzero()[:, 0].tolist():
            inside[row] = torch.equal(a[row], b[row]) or sum_within(a[row], b[row], radius, self.order)
        return inside

    def around(self, x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float) -> SumRegion:
        """Return the region of ball and box around x."""
        rounding = self.rounding(x)
        return SumRegion(
            norm=self,
            radius=radius,
            x=x,
            low=float_above(low, x.dtype),
            high=float_below(high, x.dtype),
            below=low - x,
            above=high - x,
            reach=rounding.reach(radius, self.length(x)),
            accept=rounding.accept(radius),
            reject=rounding.reject(radius),
        )

    def shorten(
        self,
        d: Float[Tensor, "n d"],
        below: Float[Tensor, "n d"],
        above: Float[Tensor, "n d"],
        reach: Float[Tensor, "n 1"],
    ) -> Float[Tensor, "n d"]:
        """Return the displacements of the box nearest to d of a length of at most `reach`, up to 2^-14 of it."""
        clipped = d.clamp(below, above)
        size = self.length(clipped)
        if bool((size <= reach).all()):
            return clipped
        w, _ = self.approach(d, below, above, torch.minimum(reach, size), size)
        return torch.where(size <= reach, clipped, w)

    def nearest(
        self, points: Float[Tensor, "n d"], x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float
    ) -> Float[Tensor, "n d"]:
        """Return the nearest points of ball and box, found in float64 and rounded towards the centres.

        Rounding inward costs the length nothing, so `reach` owes nothing to the size of x.
        """
        centre = x.to(torch.float64)
        d, below, above = points.to(torch.float64) - centre, low - centre, high - centre
        size = self.length(d.clamp(below, above))
        reach = self.rounding(centre).reach(radius, torch.zeros_like(size))
        w, size = self.shrink(d, below, above, reach, size)
        z = inward(centre, w * factor(reach, size), x.dtype)
        return z.clamp_(float_above(low, x.dtype), float_below(high, x.dtype))
