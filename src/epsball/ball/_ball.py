"""`Ball`: the exact set N(x) that every pillar shares."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from epsball import ball_text
from epsball.ball._checks import check_centre, check_finite, check_floats, check_pair
from epsball.ball.exact import float_above, float_below
from epsball.ball.l1 import L1
from epsball.ball.l2 import L2
from epsball.ball.linf import LINF
from epsball.ball.neighbourhood import Neighbourhood, scatter
from epsball.ball.norm import Norm, length, pieces, rows_of
from epsball.errors import InputError
from epsball.names import NormName
from epsball.radius import format_radius, parse_radius
from epsball.randomness import Keys

NORMS: dict[NormName, Norm] = {"linf": LINF, "l2": L2, "l1": L1}
_DUAL: dict[NormName, NormName] = {"linf": "l1", "l2": "l2", "l1": "linf"}


@dataclass(frozen=True)
class Ball:
    """The perturbation set N(x) = {x' : norm(x' - x) <= radius and low <= x' <= high}.

    A statement about real numbers, decided exactly for stored floats. All methods work per example
    over the leading axis, for examples of any shape, in float32 and float64.

    Parameters
    ----------
    norm
        ``"linf"``, ``"l2"`` or ``"l1"``.
    radius
        At least 0, in the units of the box (pixels of [0, 1], also for 8-bit data); kept as an exact
        fraction. Text, an int or a `Fraction` is exact; a float means the simplest fraction that rounds
        to it, so that ``8/255`` is 8/255.
    low, high
        The ends of the box; None for both means no box.

    Raises
    ------
    InputError
        If the norm is unknown, the radius is negative or not finite, low >= high, only one end is None,
        or an linf radius is at least twice the width of the box (8 where 8/255 is meant).

    Examples
    --------
    >>> import torch
    >>> Ball("linf", 8 / 255)
    Ball(norm='linf', radius=Fraction(8, 255), low=0.0, high=1.0)
    >>> str(Ball.parse("l2:0.5,low=-1,high=1"))
    'l2:0.5,low=-1,high=1'
    >>> x = torch.tensor([[0.0, 0.5]])
    >>> Ball("linf", "0.25").project(torch.tensor([[-1.0, 1.0]]), x)
    tensor([[0.0000, 0.7500]])
    """

    norm: NormName
    radius: Fraction
    low: float | None
    high: float | None

    def __init__(
        self,
        norm: NormName,
        radius: str | int | float | Fraction,
        low: float | int | None = 0.0,
        high: float | int | None = 1.0,
    ) -> None:
        values = {
            "norm": ball_text.known_norm(norm),
            "radius": parse_radius(radius),
            "low": None if low is None else float(low),
            "high": None if high is None else float(high),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        ball_text.check_box(self.norm, self.radius, self.low, self.high)

    @classmethod
    def parse(cls, text: str) -> "Ball":
        """Return the ball that a text names: ``NORM:RADIUS[,low=NUMBER][,high=NUMBER]``.

        For instance ``linf:8/255``, ``l2:0.5``, ``linf:0.1,low=-1,high=1``; ``low=none,high=none`` means
        no box. ``str`` of a ball returns such a text.

        Raises
        ------
        InputError
            If the text has another form, or the ball it names is not valid.
        """
        norm, radius, box = ball_text.read(text)
        return cls(ball_text.known_norm(norm), radius, **box)

    def __str__(self) -> str:
        return ball_text.write(self.norm, format_radius(self.radius), self.low, self.high)

    @property
    def _norm(self) -> Norm:
        return NORMS[self.norm]

    @property
    def _box(self) -> tuple[float, float]:
        return (-math.inf if self.low is None else self.low, math.inf if self.high is None else self.high)

    @torch.no_grad()
    def contains(self, x_adv: Float[Tensor, "n *shape"], x: Float[Tensor, "n *shape"]) -> Bool[Tensor, " n"]:
        """Return which rows of x_adv lie in N(x), decided exactly.

        linf compares error-free differences. l2 and l1 compare float64 lengths, and integers where
        rounding leaves a doubt. NaN and infinities are in no ball.
        """
        check_pair("x_adv", x_adv, "x", x)
        return self.in_box(x_adv) & self._norm.within(rows_of(x_adv), rows_of(x), self.radius)

    def within(self, other: "Ball") -> bool:
        """Return whether N(x) of this ball lies in that of another one, about every x: surely, by norms and radii.

        With the same box, the l1 ball lies in the l2 ball and that in the linf ball of the same radius.

        Examples
        --------
        >>> Ball("l2", "0.1").within(Ball("linf", "0.1")), Ball("linf", "0.1").within(Ball("l2", "0.1"))
        (True, False)
        """
        wider = list(NORMS).index(other.norm) <= list(NORMS).index(self.norm)
        return wider and self.radius <= other.radius and (self.low, self.high) == (other.low, other.high)

    @torch.no_grad()
    def in_box(self, x_adv: Float[Tensor, "n *shape"]) -> Bool[Tensor, " n"]:
        """Return exactly which rows of x_adv lie in the box; rows with NaN do not, even without a box."""
        check_floats(x_adv=x_adv)
        points = rows_of(x_adv)
        low, high = self._box_in(points.dtype)
        return (points.amin(dim=1) >= low) & (points.amax(dim=1) <= high)

    @torch.no_grad()
    def project(self, x_adv: Float[Tensor, "n *shape"], x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the nearest points (in l2) of N(x), rounded inward: always contained.

        A contained point is returned bit for bit. For l2 and l1 this is the projection onto the
        intersection of ball and box, computed in float64 and rounded towards x coordinate by coordinate.
        In loops use `at`, which is cheaper.

        Raises
        ------
        InputError
            If a value is not finite (in float64: beyond 3e150), x is outside the box, or shapes or types differ.
        """
        check_pair("x_adv", x_adv, "x", x)
        if x_adv.dtype != x.dtype:
            raise InputError(f"x_adv is {x_adv.dtype} and x is {x.dtype}; convert one to the type of the other.")
        check_finite("x_adv", x_adv)
        check_centre(x, *self._box)
        points, centre = rows_of(x_adv), rows_of(x)
        clamped = points.clamp(*self._box_in(points.dtype))
        # A clamp may turn -0.0 into 0.0; a point inside keeps its bits.
        found = torch.where(clamped == points, points, clamped)
        outside = ~self._norm.within(found, centre, self.radius)
        if bool(outside.any()):
            found[outside] = self._norm.nearest(points[outside], centre[outside], self.radius, *self._box)
        return found.view(x_adv.shape)

    @torch.no_grad()
    def at(self, x: Float[Tensor, "n *shape"]) -> Neighbourhood:
        """Return N(x) for use in a loop, with everything that depends on x computed once.

        Raises
        ------
        InputError
            If x is not finite or lies outside the box.
        """
        check_floats(x=x)
        check_centre(x, *self._box)
        region = self._norm.around(rows_of(x.detach()), self.radius, *self._box)
        return Neighbourhood(self._norm, region, tuple(x.shape[1:]), float(self.radius), *self._box)

    @torch.no_grad()
    def ascent(
        self, gradient: Float[Tensor, "n *shape"], x_adv: Float[Tensor, "n *shape"]
    ) -> Float[Tensor, "n *shape"]:
        """Return the direction of unit length, in this norm, in which a step from x_adv ascends.

        linf: the sign. l2: the gradient over its length, row by row. l1: signs on the largest 1% of the
        entries that have room in the box (Tramèr and Boneh 2019; Croce and Hein 2021). A zero gradient gives
        a zero direction; gradients must be finite.
        """
        check_pair("gradient", gradient, "x_adv", x_adv)
        return self._norm.ascent(rows_of(gradient), rows_of(x_adv), *self._box).view(x_adv.shape)

    @torch.no_grad()
    def sample(self, x: Float[Tensor, "n *shape"], keys: Keys) -> Float[Tensor, "n *shape"]:
        """Return points drawn uniformly from the ball without the box, then projected; one key per example."""
        check_floats(x=x)
        return self.project(scatter(rows_of(x), self._norm, float(self.radius), keys).view(x.shape), x)

    @torch.no_grad()
    def distance(self, x_adv: Float[Tensor, "n *shape"], x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return norm(x_adv - x) row by row, in float64 (rounded: `contains` decides, not this number)."""
        check_pair("x_adv", x_adv, "x", x)
        pairs = zip(pieces(rows_of(x_adv)), pieces(rows_of(x)), strict=True)
        return torch.cat([length(a.double() - b.double(), self._norm.order) for a, b in pairs])

    @torch.no_grad()
    def dual_norm(self, gradient: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return max <gradient, v> over norm(v) <= 1, row by row in float64: l1 for linf, linf for l1."""
        check_floats(gradient=gradient)
        order = NORMS[_DUAL[self.norm]].order
        return torch.cat([length(rows.double(), order) for rows in pieces(rows_of(gradient))])

    @torch.no_grad()
    def proximal(self, v: Float[Tensor, "n *shape"], weight: Float[Tensor, " n"]) -> Float[Tensor, "n *shape"]:
        """Return argmin_u weight norm(u) + norm_2(u - v)^2 / 2, row by row, up to 2^-14 of the weight.

        By Moreau's decomposition this is v minus its projection onto the dual ball of radius `weight`:
        soft thresholding for l1, a shortened vector for l2, a clipped one for linf.
        """
        check_floats(v=v)
        rows = rows_of(v)
        free = torch.full_like(rows, math.inf)
        return (rows - NORMS[_DUAL[self.norm]].shorten(rows, -free, free, weight[:, None].double())).view(v.shape)

    @torch.no_grad()
    def overlap(
        self,
        x: Float[Tensor, "n *shape"] | UInt8[Tensor, "n *shape"],
        x2: Float[Tensor, "n *shape"] | UInt8[Tensor, "n *shape"],
    ) -> Bool[Tensor, " n"]:
        """Return, row by row and exactly, whether norm(x - x2) <= 2 radius: whether the closed balls meet.

        uint8 tensors are pixels in units of 1/255, compared in integers; floats are compared as stored.
        (If both centres lie in the box, so does the point half-way between them.)
        """
        if x.dtype == x2.dtype == torch.uint8 and x.shape == x2.shape:
            return self._overlap_8bit(rows_of(x), rows_of(x2))
        check_pair("x", x, "x2", x2)
        return self._norm.within(rows_of(x), rows_of(x2), 2 * self.radius)

    def _overlap_8bit(self, a: Tensor, b: Tensor) -> Tensor:
        """Return whether sum abs(a - b)^p <= (510 radius)^p: an integer is compared with a fraction's floor."""
        steps = (a.to(torch.int64) - b.to(torch.int64)).abs_()
        reach = 510 * self.radius
        if self.norm == "linf":
            return steps.amax(dim=1) <= min(math.floor(reach), 255)
        power = int(self._norm.order)
        return (steps**power).sum(dim=1) <= min(math.floor(reach**power), 2**62)

    def _box_in(self, dtype: torch.dtype) -> tuple[float, float]:
        """Return the least and the largest float of `dtype` in the box: comparing with them is exact."""
        low, high = self._box
        return float_above(low, dtype), float_below(high, dtype)
