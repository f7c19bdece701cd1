"""`Norm`, what a ball needs of a norm, and `Region`, what a neighbourhood needs."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball.randomness import Keys

Ascent = Callable[[Tensor, Tensor, float, float], Tensor]
"""``ascent(gradient, points, low, high)``: directions of unit length, rows in and out."""

Draw = Callable[[Keys, int], Tensor]
"""``draw(keys, d)``: float64 points (n, d) drawn uniformly from the unit ball."""

_PIECE = 1 << 16


@runtime_checkable
class Region(Protocol):
    """Ball and box around each row of x, with everything that depends on x computed once."""

    @property
    def x(self) -> Tensor:
        """The centres, (n, d)."""
        ...

    def project(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return points of ball and box, nearest up to the region's stated shrink."""
        ...

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Return exactly which points lie in ball and box."""
        ...

    def take(self, rows: Tensor) -> "Region":
        """Return the region of some of the rows."""
        ...


@runtime_checkable
class Norm(Protocol):
    """The mathematics of one norm. Rows are examples; a box without ends is (-inf, inf)."""

    @property
    def order(self) -> float:
        """The p of the norm: 1, 2 or infinity."""
        ...

    @property
    def ascent(self) -> Ascent:
        """The direction in which a step ascends."""
        ...

    @property
    def draw(self) -> Draw:
        """Uniform draws from the unit ball."""
        ...

    def within(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], radius: Fraction) -> Bool[Tensor, " n"]:
        """Return exactly which rows have norm(a - b) <= radius."""
        ...

    def around(self, x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float) -> Region:
        """Return the region of ball and box around x."""
        ...

    def shorten(
        self,
        d: Float[Tensor, "n d"],
        below: Float[Tensor, "n d"],
        above: Float[Tensor, "n d"],
        reach: Float[Tensor, "n 1"],
    ) -> Float[Tensor, "n d"]:
        """Return the displacements in the box nearest to d with a norm of at most `reach`, up to 2^-14 of it."""
        ...

    def nearest(
        self, points: Float[Tensor, "n d"], x: Float[Tensor, "n d"], radius: Fraction, low: float, high: float
    ) -> Float[Tensor, "n d"]:
        """Return the nearest points of ball and box, rounded inward, for points whose clamp is outside the ball."""
        ...


def rows_of(x: Tensor) -> Tensor:
    """Return x (n, ...) as (n, d), without a copy where it is contiguous."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def pieces(x: Tensor) -> tuple[Tensor, ...]:
    """Return the rows of x (n, d) in blocks whose float64 temporaries fit in the processor's cache."""
    return x.split(max(1, _PIECE // max(1, x.shape[1])))


def length(v: Float[Tensor, "n d"], order: int | float) -> Float[Tensor, " n"]:
    """Return the norm of each row in its own dtype; torch's own maximum norm takes ten times as long."""
    return v.abs().amax(dim=1) if order == math.inf else torch.linalg.vector_norm(v, order, dim=1)


def extremes(tensor: Tensor) -> tuple[float, float]:
    """Return the least and the largest value: NaN if there is one, (inf, -inf) if there is no value."""
    if tensor.numel() == 0:
        return math.inf, -math.inf
    low, high = tensor.aminmax()
    return low.item(), high.item()
