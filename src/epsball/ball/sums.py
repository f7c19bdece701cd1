"""What l2 and l1 share: norms that are sums, so that every statement needs a bound on its rounding."""

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

    The computed length of the computed a - b is norm(a - b)(1 + t) with abs(t) <= (1 + u)(1 + e) - 1, up to
    an absolute `tiny` if something underflows.

    Parameters
    ----------
    unit
        u, the unit roundoff of the points' dtype: one rounding per difference.
    error
        e, the relative error of computing a length from given coordinates; below 2^-10.
    tiny
        A bound on the effect of underflow.
    """

    unit: float
    error: float
    tiny: float

    @classmethod
    def of(cls, x: Float[Tensor, "n d"], error: float) -> "Rounding":
        """Return the bounds for rows such as those of x; squares below the smallest normal number may vanish."""
        return cls(_UNIT[x.dtype], error + _FINE, x.shape[1] * math.sqrt(torch.finfo(x.dtype).tiny))

    def accept(self, radius: Fraction) -> float:
        """Return a level such that a computed length up to it implies an exact one <= radius."""
        return float_below(radius, torch.float64) * (1 - self.unit - self.error) - self.tiny

    def reject(self, radius: Fraction) -> float:
        """Return a level such that a finite computed length above it implies an exact one > radius."""
        return float_above(radius, torch.float64) * (1 + 1.01 * (self.unit + self.error)) + self.tiny

    def reach(self, radius: Fraction, size_of_x: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        """Return the length, at least 0, that projections around centres of this length aim at.

        The displacement w found is scaled to this computed length; then v = fl(c w) and z = fl(x + v)
        round each coordinate by at most u abs(v_i) and u abs(x_i + v_i), so that

            norm(z - x) <= (1 + u)^4 (1 + 1.01 e) reach + u norm(x).

        Reach is so small that the computed length of z - x, larger by at most another (1 + u)(1 + e),
        stays below `accept`: projected points are inside, and the cheap test shows it.
        """
        level = (self.accept(radius) - 10 * self.tiny) * (1 - 6 * self.unit - 2.2 * self.error)
        return (level - 1.1 * self.unit * size_of_x).clamp_(min=0.0)


def factor(reach: Float[Tensor, "n 1"], size: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
    """Return the factor, at most 2, that scales a length `size` to `reach`.

    It may exceed 1 if the solver stopped short; the clamp to the box comes afterwards and only shortens.
    """
    return (reach / size.clamp(min=_NOTHING)).clamp_(max=2.0)


@dataclass(frozen=True)
class SumRegion:
    """Ball and box in l2 or l1, with cheap projections that never leave them.

    The stated shrink: a displacement that `project` shortens ends with a length between (1 - 2^-14) reach
    and `reach`, in practice within 1e-6 of it. With u and e of `Rounding`, reach is radius - (7 u + 3.2 e)
    radius - 1.1 u norm(x). For float32, 3072 coordinates of norm 28 and an l2 radius of 0.5 that is below
    the radius by 1.1e-5 of it.

    Parameters
    ----------
    norm, radius
        The norm and the exact radius.
    x
        Centres.
    low, high
        The least and largest floats of x's dtype in the box, or infinities.
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

        Points whose clamp to the box is certainly in the ball stay there, so the projection is idempotent.
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
        """Return exactly which points lie in ball and box: by their lengths or, in doubt, in integers."""
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
        ``error(d, unit)``: a bound on the relative error of `length` for d coordinates of a dtype with this
        unit roundoff.
    shrink
        ``shrink(d, below, above, reach, size) -> (w, length of w)`` in float64: the displacement w nearest
        to d with below <= w <= above and a length of `reach`, up to rounding. `size` is the length of
        clamp(d, below, above); rows where it is below `reach` may return anything.
    approach
        The same for loops, in d's own dtype, with a length of w within 2^-14 of `reach`.
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
        """Return exactly which rows have norm(a - b) <= radius: by float64 lengths or, in doubt, in integers."""
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
        """Return the displacements in the box nearest to d with a norm of at most `reach`, up to 2^-14 of it."""
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

        Rounding inward does not lengthen a displacement, so `reach` does not depend on the size of x.
        """
        centre = x.to(torch.float64)
        d, below, above = points.to(torch.float64) - centre, low - centre, high - centre
        size = self.length(d.clamp(below, above))
        reach = self.rounding(centre).reach(radius, torch.zeros_like(size))
        w, size = self.shrink(d, below, above, reach, size)
        z = inward(centre, w * factor(reach, size), x.dtype)
        return z.clamp_(float_above(low, x.dtype), float_below(high, x.dtype))
