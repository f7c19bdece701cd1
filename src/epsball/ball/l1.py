"""The l1 norm: soft thresholds, capped by the room in the box."""

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball.additive import SumNorm, length
from epsball.ball.root import solve
from epsball.randomness import Keys

_SHARE = 100
"""One coordinate in so many moves in an ascent step (SLIDE's 99th percentile)."""


def shrink(
    d: Float[Tensor, "n d"],
    below: Float[Tensor, "n d"],
    above: Float[Tensor, "n d"],
    reach: Float[Tensor, "n 1"],
    size: Float[Tensor, "n 1"],
    tolerance: float,
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n 1"]]:
    """Return the displacement nearest to d of l1 length `reach` in the box, and its length.

    The Karush-Kuhn-Tucker conditions of min sum (w_i - d_i)^2 subject to sum abs(w_i) <= reach and
    below <= w <= above (the box holds 0) give abs(w_i) = clamp(abs(d_i) - lambda, 0, room_i) with the sign of d_i and
    lambda >= 0, room_i being the way to the box. The length is piecewise linear and increasing in
    mu = max_i abs(d_i) - lambda, in which nothing cancels when d is far away. Works in float64.
    """
    magnitude = d.abs().to(torch.float64)
    room = torch.where(d > 0, above, -below).to(torch.float64)
    largest = magnitude.amax(dim=1, keepdim=True)
    depth = magnitude - largest
    nothing = torch.zeros_like(largest)

    def evaluate(mu: Tensor) -> tuple[Tensor, Tensor]:
        w = (depth + mu).clamp_(nothing, room)
        return w, w.sum(dim=1, keepdim=True)

    w, size = solve(evaluate, largest, size, torch.minimum(reach, size), tolerance)
    return torch.copysign(w.to(d.dtype), d), size


def ascent(gradient: Tensor, points: Tensor, low: float, high: float) -> Tensor:
    """Return the signs of the largest 1% of abs(g_i) (at least one), scaled to l1 length 1.

    Only coordinates with room in the box in the gradient's direction are taken. Zero rows stay zero.
    (A single coordinate would be steepest; several make progress on a curved loss.)

    References
    ----------
    Tramèr and Boneh, "Adversarial training and robustness for multiple perturbations", NeurIPS 2019
    (SLIDE). Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image
    classifiers", ICML 2021.
    """
    sign = gradient.sign()
    wall = torch.where(sign > 0, high, low)
    movable = (gradient.abs() * (points != wall)).nan_to_num_(nan=0.0)
    count = max(1, gradient.shape[1] // _SHARE)
    chosen = movable.topk(count, dim=1, sorted=False)
    step = sign.gather(1, chosen.indices) * (chosen.values > 0)
    step /= step.abs().sum(dim=1, keepdim=True).clamp_(min=1.0)
    return torch.zeros_like(gradient).scatter_(1, chosen.indices, step)


def draw(keys: Keys, d: int) -> Tensor:
    """Return draws uniform in the unit ball: a uniform point of the simplex, random signs, u^(1/d).

    Exponentials divided by their sum are uniform on the simplex.
    """
    weights = keys.exponential((d,))
    signs = keys.derive("sign").bits(d).bitwise_and_(1).mul_(2).sub_(1)
    radius = keys.derive("radius").uniform((1,)) ** (1.0 / d)
    return weights * signs * (radius / length(weights, 1))


L1 = SumNorm(order=1, shrink=shrink, ascent=ascent, draw=draw)
