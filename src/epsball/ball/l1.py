"""The l1 norm: soft thresholding, limited by the room in the box."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball.root_finding import solve
from epsball.ball.sums import SumNorm
from epsball.randomness import Keys

_NEAR = 2.0**-14
_SHARE = 100
"""One coordinate in this many moves in an ascent step (SLIDE's 99th percentile)."""

_ROOM = 2.0**-10
"""A coordinate closer to its wall than this share of the box counts as saturated: rounding leaves it there."""


def length(v: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    """Return the norm of each row, accumulated in float64."""
    return v.abs().sum(dim=1, keepdim=True, dtype=torch.float64)


def error(d: int, unit: float) -> float:
    """Return a bound of the relative error of `length`: d - 1 additions of float64 in any order."""
    return d * 2.0**-53


def shrink(
    d: Float[Tensor, "n d"],
    below: Float[Tensor, "n d"],
    above: Float[Tensor, "n d"],
    reach: Float[Tensor, "n 1"],
    size: Float[Tensor, "n 1"],
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n 1"]]:
    """Return the displacement nearest to d of l1 length `reach` in the box, and its length.

    The Karush-Kuhn-Tucker conditions of min sum (w_i - d_i)^2 subject to sum abs(w_i) <= reach and
    below <= w <= above (the box holds 0) give abs(w_i) = clamp(abs(d_i) - lambda, 0, room_i) with the sign
    of d_i and lambda >= 0, room_i being the way to the box. The length grows as lambda falls, linearly
    between the knots where a coordinate starts to move (abs(d_i)) or reaches its wall (abs(d_i) - room_i).
    From the largest knot downwards all gains are positive, so nothing cancels, however far away d is.
    """
    sign, magnitude, room = _split(d, below, above)
    arrivals = (magnitude - room).clamp_(min=0.0)
    knots, order = torch.cat([magnitude, arrivals], dim=1).sort(dim=1, descending=True)
    moving = torch.where(order < d.shape[1], 1.0, -1.0).to(knots.dtype).cumsum(dim=1)
    gains = moving[:, :-1] * (knots[:, :-1] - knots[:, 1:])
    lengths = torch.cat([torch.zeros_like(size), gains.cumsum(dim=1)], dim=1)
    target = torch.minimum(reach, size)
    knot = (lengths <= target).sum(dim=1, keepdim=True) - 1
    rest = (target - lengths.gather(1, knot)) / moving.gather(1, knot).clamp_(min=1.0)
    w = ((magnitude - knots.gather(1, knot)) + rest).clamp_(torch.zeros_like(size), room)
    return w * sign, w.sum(dim=1, keepdim=True)


def approach(
    d: Float[Tensor, "n d"],
    below: Float[Tensor, "n d"],
    above: Float[Tensor, "n d"],
    reach: Float[Tensor, "n 1"],
    size: Float[Tensor, "n 1"],
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n 1"]]:
    """Return what `shrink` does, but with a length within 2^-14 of `reach`, and usually without sorting.

    Rows on which the solver does not converge (displacements of a billion radii and more) are sorted.
    """
    sign, magnitude, room = _split(d, below, above)
    largest = magnitude.amax(dim=1, keepdim=True)
    nothing = torch.zeros_like(largest)

    def evaluate(depth: Tensor) -> tuple[Tensor, Tensor]:
        w = (magnitude - (largest - depth)).clamp_(nothing, room)
        return w, w.sum(dim=1, keepdim=True)

    target = torch.minimum(reach, size)
    w, found = solve(evaluate, largest, size, target, _NEAR)
    w = w.to(d.dtype).mul_(sign)
    missed = ((found - target).abs_() > _NEAR * target)[:, 0]
    if bool(missed.any()):
        exact, found[missed] = shrink(d[missed], below[missed], above[missed], reach[missed], size[missed])
        w[missed] = exact.to(d.dtype)
    return w, found


def _split(d: Tensor, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the signs (1 or -1), the magnitudes and the rooms of displacements; the last two in float64."""
    sign = torch.copysign(torch.ones_like(d), d)
    room = torch.maximum(sign * above, sign * below)
    return sign, d.abs().to(torch.float64), room.to(torch.float64)


def ascent(gradient: Tensor, points: Tensor, low: float, high: float) -> Tensor:
    """Return the signs of the largest 1% of abs(g_i) (at least one), scaled to l1 length 1.

    Only coordinates with room in the box in the gradient's direction count. Zero rows stay zero.
    (A single coordinate would be steepest; several make more progress on a curved loss.)

    References
    ----------
    Tramèr and Boneh, "Adversarial training and robustness for multiple perturbations", NeurIPS 2019
    (SLIDE). Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image
    classifiers", ICML 2021.
    """
    wall = torch.copysign(torch.full_like(points, math.inf), gradient).clamp_(low, high)
    # Without a box both sides of the comparison are infinite.
    gain = gradient.abs() * ((wall - points).abs_() >= _ROOM * (high - low))
    chosen = gain.topk(max(1, gain.shape[1] // _SHARE), dim=1, sorted=False)
    step = gradient.gather(1, chosen.indices).sign_().mul_(chosen.values > 0)
    step /= step.abs().sum(dim=1, keepdim=True).clamp_(min=1.0)
    return torch.zeros_like(gradient).scatter_(1, chosen.indices, step)


def draw(keys: Keys, d: int) -> Tensor:
    """Return draws uniform in the unit ball: a uniform point of the simplex, random signs, u^(1/d).

    Exponentials divided by their sum are uniform on the simplex.
    """
    weights = keys.exponential((d,))
    signs = keys.derive("sign").bits(d).bitwise_and_(1).mul_(2).sub_(1)
    radius = keys.derive("radius").uniform((1,)) ** (1.0 / d)
    return weights * signs * (radius / length(weights))


L1 = SumNorm(order=1, length=length, error=error, shrink=shrink, approach=approach, ascent=ascent, draw=draw)
