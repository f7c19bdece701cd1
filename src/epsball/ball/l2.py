"""The l2 norm: scaled displacements, limited by the room in the box."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball.norm import extremes
from epsball.ball.root_finding import solve
from epsball.ball.sums import SumNorm
from epsball.randomness import Keys

_SAFE = (2.0**-50, 2.0**60)
"""Lengths between these have squares far from both ends of float32."""


def length(v: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    """Return the norm of each row: norms of blocks in v's own type, then the norm of these in float64.

    Float64 throughout is as accurate but takes twice as long for 784 coordinates of float32 and three
    times as long for 3072, mostly for writing the copy.
    """
    m = _block(v.shape[1])
    blocks = v.reshape(len(v), v.shape[1] // m, m)
    return torch.linalg.vector_norm(torch.linalg.vector_norm(blocks, dim=2), dim=1, keepdim=True, dtype=torch.float64)


def error(d: int, unit: float) -> float:
    """Return a bound of the relative error of `length`.

    For a block of m: one rounding per square and m - 1 additions in any order, halved by the root, and
    the rounding of the root (Higham, "Accuracy and Stability of Numerical Algorithms", section 4.2). At
    d = 3072 that is 34 units, where a single sum would have 1538. The same in float64 over the blocks.
    """
    m = _block(d)
    return (m / 2 + 2) * unit + (d / m / 2 + 2) * 2.0**-53


def _block(d: int) -> int:
    """Return the largest divisor of d up to 64."""
    return next(m for m in range(min(d, 64), 0, -1) if d % m == 0)


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
    below <= w <= above (the box contains 0) give w(s) = clamp(s d, below, above) with 0 <= s <= 1. Its
    length increases with s, so meeting `reach`, up to a relative `tolerance`, needs no sorting.
    """

    def evaluate(s: Tensor) -> tuple[Tensor, Tensor]:
        w = (d * s.to(d.dtype)).clamp_(below, above)
        return w, length(w)

    return solve(evaluate, torch.ones_like(size), size, torch.minimum(reach, size), tolerance)


def ascent(gradient: Tensor, points: Tensor, low: float, high: float) -> Tensor:
    """Return gradient / norm(gradient) row by row, which maximises <gradient, v> over the unit ball.

    Rows whose squares might underflow or overflow are divided by their largest entry first. Zero rows stay
    zero; rows that are not finite become NaN.
    """
    size = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    smallest, greatest = extremes(size)
    if smallest > _SAFE[0] and greatest < _SAFE[1]:
        return gradient / size
    largest = gradient.abs().amax(dim=1, keepdim=True)
    scaled = gradient / largest.masked_fill(largest == 0, 1.0)
    # A row whose largest entry is 1 has at least length 1; only lengths of zero rows are raised to 1.
    scaled /= torch.linalg.vector_norm(scaled, dim=1, keepdim=True).clamp_(min=1.0)
    return torch.where((size > _SAFE[0]) & (size < _SAFE[1]), gradient / size, scaled)


def draw(keys: Keys, d: int) -> Tensor:
    """Return draws uniform in the unit ball: a Gaussian direction, of length u^(1/d)."""
    direction = keys.normal((d,))
    radius = keys.derive("radius").uniform((1,)) ** (1.0 / d)
    return direction * (radius / length(direction))


L2 = SumNorm(
    order=2,
    length=length,
    error=error,
    shrink=shrink,
    approach=partial(shrink, tolerance=2.0**-14),
    ascent=ascent,
    draw=draw,
)
