"""The l2 norm: scaled displacements, capped by the room in the box."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball.additive import SumNorm
from epsball.ball.root import solve
from epsball.randomness import Keys


def length(v: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    """Return the norm of each row, accumulated in float64."""
    return torch.linalg.vector_norm(v, dim=1, keepdim=True, dtype=torch.float64)


def shrink(
    d: Float[Tensor, "n d"],
    below: Float[Tensor, "n d"],
    above: Float[Tensor, "n d"],
    reach: Float[Tensor, "n 1"],
    size: Float[Tensor, "n 1"],
    tolerance: float = 2.0**-44,
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n 1"]]:
    """Return the displacement nearest to d of length `reach` in the box, and its length.

    The Karush-Kuhn-Tucker conditions of min norm(w - d)^2 subject to norm(w) <= reach and
    below <= w <= above (the box holds 0) give w(s) = clamp(s d, below, above) with 0 <= s <= 1. In q = s^2
    the square of its length is increasing, concave and piecewise linear, and nothing has to be sorted to
    meet reach^2, here up to a relative `tolerance`.
    """

    def evaluate(q: Tensor) -> tuple[Tensor, Tensor]:
        w = (d * q.sqrt().to(d.dtype)).clamp_(below, above)
        return w, length(w).square_()

    target = torch.minimum(reach, size).square()
    w, square = solve(evaluate, torch.ones_like(size), size.square(), target, tolerance)
    return w, square.sqrt()


def ascent(gradient: Tensor, points: Tensor, low: float, high: float) -> Tensor:
    """Return gradient / norm(gradient) row by row, which maximises <gradient, v> over the unit ball.

    Each row is first divided by its largest entry, so that no square underflows or overflows. Zero rows
    stay zero; rows that are not finite become NaN.
    """
    largest = gradient.abs().amax(dim=1, keepdim=True)
    scaled = gradient / largest.masked_fill(largest == 0, 1.0)
    # The length of a row whose largest entry is 1 is at least 1; only zero rows are raised to it.
    return scaled.div_(torch.linalg.vector_norm(scaled, dim=1, keepdim=True).clamp_(min=1.0))


def draw(keys: Keys, d: int) -> Tensor:
    """Return draws uniform in the unit ball: a Gaussian direction, of length u^(1/d)."""
    direction = keys.normal((d,))
    radius = keys.derive("radius").uniform((1,)) ** (1.0 / d)
    return direction * (radius / length(direction))


L2 = SumNorm(
    order=2, length=length, shrink=shrink, approach=partial(shrink, tolerance=2.0**-14), ascent=ascent, draw=draw
)
