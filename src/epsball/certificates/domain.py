"""`Domain`: a superset of N(x) in float64, and the least value of a linear function over it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball import Ball, NormName
from epsball.ball.exact import float_above, float_below
from epsball.certificates.box import Box
from epsball.certificates.tensors import dot
from epsball.errors import InputError

Ends = Tensor | Sequence[Any]
"""Ends of boxes: a floating-point tensor, or nested lists of exact numbers."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The points within `radius` of the centre (where `norm` is not linf) that lie in a box.

    Parameters
    ----------
    box
        A box that contains N(x); for linf it is N(x), rounded outward.
    centre
        The centres, (n, *shape), float64.
    norm
        ``"linf"``, ``"l2"`` or ``"l1"``.
    radius
        Of the ball, rounded up.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.5, 0.95]]))
    >>> domain.box.high
    tensor([[0.6000, 1.0000]], dtype=torch.float64)
    """

    box: Box
    centre: Tensor
    norm: NormName
    radius: float

    def __len__(self) -> int:
        return len(self.centre)

    @classmethod
    def of(cls, ball: Ball, x: Float[Tensor, "n *shape"]) -> "Domain":
        """Return the domain that covers N(x) of each row of x.

        The radius r is rounded up to float64. x - r and x + r in float64 are off by at most 2^-53 of themselves, which
        one step of `nextafter` outward covers. The ends of the ball's box are floats, so they are exact.

        Raises
        ------
        InputError
            If a value of x is not finite or outside the ball's box.
        """
        centre = x.detach().to(torch.float64)
        if not bool(torch.isfinite(centre).all()):
            raise InputError("x has values that are not finite; there is no ball around them.")
        if (
            ball.low is not None
            and ball.high is not None
            and not bool(((centre >= ball.low) & (centre <= ball.high)).all())
        ):
            raise InputError(f"x leaves the box [{ball.low}, {ball.high}] of the ball; centres lie in the box.")
        radius = float_above(ball.radius, torch.float64)
        infinity = centre.new_tensor(math.inf)
        low = torch.nextafter(centre - radius, -infinity) if radius else centre
        high = torch.nextafter(centre + radius, infinity) if radius else centre
        if ball.low is not None and ball.high is not None:
            low, high = low.clamp(min=ball.low), high.clamp(max=ball.high)
        norm: Any = ball.norm
        return cls(box=Box(low, high), centre=centre, norm=norm, radius=radius)

    @classmethod
    def of_box(cls, lower: Ends, upper: Ends) -> "Domain":
        """Return the domain of the points x with lower <= x <= upper, entry by entry.

        Floats are taken as they are; of exact numbers the lower ones are rounded down to float64, the upper ones up,
        so that the domain contains the box.

        Parameters
        ----------
        lower, upper
            The ends, (n, *shape): floating-point tensors, or nested lists of exact numbers (`Fraction`, `int`).

        Raises
        ------
        InputError
            If an end is not finite, or a lower end lies above its upper one.

        Examples
        --------
        >>> from fractions import Fraction
        >>> domain = Domain.of_box([[Fraction(1, 10), 0]], [[Fraction(1, 10), 1]])
        >>> domain.box.low[0, 0] < domain.box.high[0, 0], domain.box.high[0, 1]
        (tensor(True), tensor(1., dtype=torch.float64))
        """
        box = Box(_outward(lower, float_below), _outward(upper, float_above))
        if box.low.shape != box.high.shape or box.low.ndim < 1:
            raise InputError(
                f"the lower ends are {tuple(box.low.shape)}, the upper ones {tuple(box.high.shape)}; both are "
                "(n, *shape)."
            )
        if not bool((box.low.isfinite() & box.high.isfinite()).all()):
            raise InputError("the box has ends that are not finite; bounds need a bounded box.")
        if bool((box.low > box.high).any()):
            raise InputError("a lower end of the box lies above its upper end: no point is inside. Correct it.")
        return cls(box=box, centre=0.5 * box.low + 0.5 * box.high, norm="linf", radius=0.0)

    @classmethod
    def at(cls, x: Float[Tensor, "n *shape"], norm: NormName = "linf") -> "Domain":
        """Return the domain of the points x alone."""
        centre = x.detach().to(torch.float64)
        return cls(box=Box(centre, centre), centre=centre, norm=norm, radius=0.0)

    def take(self, rows: Tensor | slice) -> "Domain":
        """Return the domain of some examples."""
        return Domain(box=self.box.take(rows), centre=self.centre[rows], norm=self.norm, radius=self.radius)

    def to(self, dtype: torch.dtype) -> "Domain":
        """Return the domain in another type, rounded to nearest: for bounds that prove nothing, as in training."""
        box = Box(self.box.low.to(dtype), self.box.high.to(dtype))
        return Domain(box=box, centre=self.centre.to(dtype), norm=self.norm, radius=self.radius)

    def least(
        self, rows: Tensor, crop: Callable[[Tensor], Tensor], gamma: Callable[[int], float] | None = None
    ) -> Float[Tensor, "n r"]:
        """Return a lower bound of rows . x over the domain.

        Over a box with middle c and half-widths h it is a . c - abs(a) . h. Where the ball is not a box, the better of
        that and a . x - `reach` is taken: of l2 the radius times the norm of a, over a ball that contains N(x); of l1
        the most that a falls over ball and box together. All terms are sums over d entries of abs(a) m / 2 at most, so
        that abs(a) . gamma_{d+8} m covers their rounding.

        Parameters
        ----------
        rows
            Coefficients a, (n, r, *part) over that part of the input which `crop` returns.
        crop
            From (n, *shape) to (n, *part); elsewhere a is 0.
        gamma
            Of the format computed in; None leaves rounding out.
        """
        low, high = crop(self.box.low), crop(self.box.high)
        middle, half, size = 0.5 * (low + high), 0.5 * (high - low), rows.abs()
        doubt = torch.zeros_like(half) if gamma is None else gamma(half[0].numel() + 8) * crop(self.magnitude())
        over_box = dot(rows, middle) - dot(size, half + doubt)
        if self.norm == "linf" or not half[0].numel():  # a window of padding alone holds no input
            return over_box
        if self.norm == "l2":
            # Squares may underflow: d of them lose at most sqrt(d 2^-1074) of the norm, less than 2^-500.
            reach = self.radius * (torch.linalg.vector_norm(rows.flatten(2), dim=2) + 2.0**-500)
        else:
            below, above = crop(self.centre) - low, high - crop(self.centre)
            reach = _reach(rows, below.clamp(0.0, self.radius), above.clamp(0.0, self.radius), self.radius)
        return torch.maximum(over_box, dot(rows, crop(self.centre)) - reach - dot(size, doubt))

    def magnitude(self) -> Float[Tensor, "n *shape"]:
        """Return m, twice the largest size of a point of either set."""
        return 2 * torch.maximum(self.box.magnitude, self.centre.abs() + self.radius)


def _reach(rows: Tensor, below: Tensor, above: Tensor, radius: float) -> Float[Tensor, "n r"]:
    """Return how far linear functions a (n or 1, r, *shape) may fall, each entry within its room, all within a radius.

    The most that sum abs(a_i) t_i comes to for 0 <= t_i <= w_i and sum t_i <= radius, w the rooms (n, *shape) below
    and above: a fractional knapsack. Steep entries are filled first; with s the steepness of the first that has not its
    whole room it is s radius + sum max(abs(a_i) - s, 0) w_i, which no choice of s makes too small.
    """
    a = rows.flatten(2)
    room = torch.where(a > 0, below.flatten(1).unsqueeze(1), above.flatten(1).unsqueeze(1))
    steep, order = a.abs().sort(dim=2, descending=True)
    filled = room.gather(2, order.expand_as(room)).cumsum(dim=2)
    full = (filled < radius).sum(dim=2, keepdim=True)
    steep = torch.cat([steep, steep[:, :, :1] * 0], dim=2).expand(len(room), -1, -1)
    s = steep.gather(2, full)
    return s[:, :, 0] * radius + ((a.abs() - s).clamp(min=0) * room).sum(dim=2)


def _outward(ends: Ends, rounded: Callable[[Fraction, torch.dtype], float]) -> Tensor:
    """Return the ends in float64: floats as they are, exact numbers rounded."""
    if isinstance(ends, Tensor):
        return ends.detach().to(torch.float64)

    def floats(part: Any) -> Any:
        if isinstance(part, list | tuple):
            return [floats(entry) for entry in part]
        if not isinstance(part, Fraction | int):
            raise InputError(f"an end of the box is {part!r}; ends are exact numbers (Fraction, int), or a tensor.")
        return rounded(Fraction(part), torch.float64)

    return torch.tensor(floats(ends), dtype=torch.float64)
