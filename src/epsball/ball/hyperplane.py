"""The point of a hyperplane and the box that is nearest in a norm."""

import torch
from jaxtyping import Float
from torch import Tensor

_NEAR = 2.0**-20
_FIRST = 32
"""Coordinates tried before all are sorted: in l1 few have to move."""


def displacement(
    order: int | float,
    normal: Float[Tensor, "n d"],
    gap: Float[Tensor, " n"],
    below: Float[Tensor, "n d"],
    above: Float[Tensor, "n d"],
) -> Float[Tensor, "n d"]:
    """Return the v of least norm with <normal, v> = gap and below <= v <= above (the box contains 0).

    With u = sign(gap) normal and room_i the way to the box in the direction of u_i, v_i = sign(u_i) m_i,
    and the Karush-Kuhn-Tucker conditions give

        linf: m_i = min(t, room_i),    l2: m_i = min(t abs(u_i), room_i)    (t >= 0),
        l1:   room_i for the largest abs(u_i), a part of it for the next, 0 for the others.

    If the hyperplane misses the box, v leads to the corner nearest to it. Coordinates where the normal
    is zero do not move.

    Parameters
    ----------
    order
        The p of the norm: 1, 2 or infinity.
    normal, gap
        The hyperplane, relative to the point that moves.
    below, above
        The way to the box, low - x and high - x.

    References
    ----------
    Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
    ICML 2020, section 2.2 and appendix A.
    """
    u = normal * torch.where(gap < 0, -1.0, 1.0).to(normal.dtype)[:, None]
    # The room on the side that u points to; selecting by a random mask costs ten times as much.
    way = torch.copysign(u.new_ones(()), u)
    room = torch.maximum(above * way, below * way)
    target, size = gap.abs()[:, None], u.abs()
    if order == 1:
        moved = _fill(size, room, target)
    else:
        moved = _spread(size, size if order == 2 else size.new_ones(1, 1), room, target)
    return moved.mul_(u.sign())


def _spread(
    size: Float[Tensor, "n d"], pace: Float[Tensor, "#n #d"], room: Float[Tensor, "n d"], target: Float[Tensor, "n 1"]
) -> Float[Tensor, "n d"]:
    """Return m_i = min(t pace_i, room_i) with sum size_i m_i = target, or m = room if that sums to less.

    The sum f(t) is concave and piecewise linear, so Newton's method from a t below the root stays below
    it and ends after finitely many steps, without sorting.
    """
    weight = size * pace
    slope = weight.sum(1, keepdim=True)
    t = torch.where(slope > 0, target / slope, 0.0)
    for _ in range(size.shape[1]):
        moved = torch.minimum(pace * t, room)
        missing = target - (size * moved).sum(1, keepdim=True)
        free = (room - moved).sign_()
        slope = (weight * free).sum(1, keepdim=True)
        unmet = (missing > _NEAR * target) & (slope > 0)
        if not bool(unmet.any()):
            break
        t = torch.where(unmet, t + missing / slope, t)
    return torch.minimum(pace * t, room)


def _fill(size: Float[Tensor, "n d"], room: Float[Tensor, "n d"], target: Float[Tensor, "n 1"]) -> Float[Tensor, "n d"]:
    """Return how far each coordinate moves if those of largest size move first, each as far as it can."""
    d = size.shape[1]
    moved, met = _fill_largest(size, room, target, min(_FIRST, d))
    if d > _FIRST and not bool(met.all()):
        moved[~met] = _fill_largest(size[~met], room[~met], target[~met], d)[0]
    return moved


def _fill_largest(size: Tensor, room: Tensor, target: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return what `_fill` does with the k coordinates of largest size, and which rows meet their target."""
    largest, index = size.topk(k, dim=1)
    space = room.gather(1, index)
    gain = torch.where(largest > 0, largest * space, 0.0)
    total = gain.cumsum(1)
    before = torch.cat([torch.zeros_like(target), total[:, :-1]], dim=1)
    wanted = (target - before).clamp_(min=0.0)
    part = torch.where(largest > 0, torch.minimum(wanted / largest, space), 0.0)
    return torch.zeros_like(size).scatter_(1, index, part), (total[:, -1:] >= target)[:, 0]
