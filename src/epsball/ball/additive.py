"""What l2 and l1 share: lengths are sums, so every statement carries a bound of its rounding.

Lengths are accumulated in float64 whatever the points' type. With u the unit roundoff of that type
and d coordinates, the length computed of the computed a - b is norm(a - b)(1 + t), abs(t) <= delta,
up to underflow: one rounding u a difference, and at most d + 16 roundings of 2^-53 for the squares,
any order of d - 1 additions, the root, and what is done with the length afterwards (Higham, "Accuracy
and Stability of Numerical Algorithms", section 4.2). At d = 3072 that is u + 3.4e-13; the same bound
for sums in float32 is u + 1.8e-4.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball.ball.exact import float_above, float_below, inward, sum_within
from epsball.ball.norm import Ascent, Draw

Shrink = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

_UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
# What underflow may cost a length per coordinate: of a product in float32, of a square in float64.
_TINY = {torch.float32: 2.0**-126, torch.float64: 2.0**-511}


@dataclass(frozen=True)
class Rounding:
    """How far computed lengths of d coordinates of one type can be from the exact ones.

    Parameters
    ----------
    unit
        u, the unit roundoff of the type.
    relative
        delta = u + (d + 16) 2^-53.
    absolute
        Bound of what underflows.
    """

    unit: float
    relative: float
    absolute: float

    @classmethod
    def of(cls, x: Float[Tensor, "n d"]) -> "Rounding":
        """Return the bounds for rows such as those of x."""
        unit, d = _UNIT[x.dtype], x.shape[1]
        return cls(unit, unit + (d + 16) * 2.0**-53, d * _TINY[x.dtype])

    def accept(self, radius: Fraction) -> float:
        """Return a level such that a computed length up to it belongs to an exact one <= radius."""
        return float_below(radius, torch.float64) * (1 - 2 * self.relative) - self.absolute

    def reject(self, radius: Fraction) -> float:
        """Return a level such that a finite computed length above it belongs to an exact one > radius."""
        return float_above(radius, torch.float64) * (1 + 2 * self.relative) + self.absolute

    def reach(self, radius: Fraction, size_of_x: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        """Return the length, at least 0, at which projections to centres of this length aim.

        The displacement w found is scaled to this computed length; then v = fl(c w) and
        z = fl(x + v) round each coordinate by at most u abs(v_i) and u abs(x_i + v_i), so that

            norm(z - x) <= (1 + u)^4 (1 + 2 delta) reach + u norm(x).

        With reach = accept (1 - 10 delta) - u norm(x) (1 + 10 delta) - 10 tiny, the computed length of
        z - x is at most `accept`: what was projected is surely inside, and known to be by the cheap test.
        """
        level = self.accept(radius) * (1 - 10 * self.relative) - 10 * self.absolute
        return (level - (1 + 10 * self.relative) * self.unit * size_of_x).clamp_(min=0.0)


def factor(reach: Float[Tensor, "n 1"], size: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
    """Return what scales a length `size` to `reach`; 0 for length 0.

    It may exceed 1 where the solver stopped short: the box is seen to afterwards, and only shortens.
    """
    return torch.where(size == 0, 0.0, reach / size)


@dataclass(frozen=True)
class SumRegion:
    """Ball and box in l2 or l1, with projections that are cheap and never leave them.

    The stated shrink: the length of what `project` moves lies between (1 - 2^-14) reach and `reach`
    (in practice within 1e-6 of it), and reach is radius (1 - 12 delta) - u norm(x). For float32 pixels of
    MNIST (norm(x) about 9) and an l2 radius of 1.5 that is 1.1e-6 of the radius below it.

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
        boxed = points.clamp(self.low, self.high)
        size = self.norm.length(boxed - self.x)
        keep = size <= self.accept
        if bool(keep.all()):
            return boxed
        w, size = self.norm.approach(points - self.x, self.below, self.above, self.reach, size)
        z = torch.addcmul(self.x, w, factor(self.reach, size).to(w.dtype)).clamp_(self.low, self.high)
        return torch.where(keep, boxed, z) if bool(keep.any()) else z

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Return exactly which points lie in ball and box: by their lengths, else in integers."""
        in_box = (points.amin(dim=1) >= self.low) & (points.amax(dim=1) <= self.high)
        size = self.norm.length(points - self.x)[:, 0]
        sure = size <= self.accept
        unsure = in_box & ~sure & ~((size > self.reject) & size.isfinite())
        if bool(unsure.any()):
            sure[unsure] = self.norm.within(points[unsure], self.x[unsure], self.radius)
        return in_box & sure

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
        The norm of each row (n, d) -> (n, 1), accumulated in float64.
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
    shrink: Shrink
    approach: Shrink
    ascent: Ascent
    draw: Draw

    def within(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], radius: Fraction) -> Bool[Tensor, " n"]:
        """Return exactly which rows have norm(a - b) <= radius: by float64 lengths, else in integers."""
        a, b = a.to(torch.float64), b.to(torch.float64)
        rounding = Rounding.of(a)
        size = self.length(a - b)[:, 0]
        inside = size <= rounding.accept(radius)
        unsure = ~inside & ~((size > rounding.reject(radius)) & size.isfinite())
        for row in unsure.nonzero()[:, 0].tolist():
            inside[row] = torch.equal(a[row], b[row]) or sum_within(a[row], b[row], radius, self.order)
        return inside

    def around(self, x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float) -> SumRegion:
        """Return the region of ball and box around x."""
        rounding = Rounding.of(x)
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

    def nearest(
        self, points: Float[Tensor, "n d"], x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float
    ) -> Float[Tensor, "n d"]:
        """Return the nearest points of ball and box, found in float64 and rounded towards the centres.

        Rounding inward costs the length nothing, so `reach` owes nothing to the size of x.
        """
        centre = x.to(torch.float64)
        rounding = Rounding.of(centre)
        d, below, above = points.to(torch.float64) - centre, low - centre, high - centre
        size = self.length(d.clamp(below, above))
        reach = rounding.reach(radius, torch.zeros_like(size))
        w, size = self.shrink(d, below, above, reach, size)
        z = inward(centre, w * factor(reach, size), x.dtype)
        return z.clamp_(float_above(low, x.dtype), float_below(high, x.dtype))
