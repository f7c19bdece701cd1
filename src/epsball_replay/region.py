"""The points a claim is about: a ball around x, cut by a box."""

from fractions import Fraction

import numpy as np

from epsball_replay.arithmetic import gamma
from epsball_replay.network import Array


class Region:
    """All z with ||z - x|| <= radius in the norm and low <= z <= high in the box.

    ``low`` and ``high`` are the corners of the least box around it, in float64 rounded outward.
    """

    def __init__(self, norm: str, x: Array, radius: Fraction, box: list[Array]) -> None:
        self.norm, self.x = norm, x
        exact = np.array([Fraction(value) for value in x.tolist()], dtype=object)
        self.low = np.nextafter(np.maximum(exact - radius, box[0].astype(object)).astype(float), -np.inf)
        self.high = np.nextafter(np.minimum(exact + radius, box[1].astype(object)).astype(float), np.inf)
        self.radius = np.nextafter(float(radius), np.inf)

    def least(self, a: Array, entries: Array) -> Array:
        """Return a lower bound of A . z on the region for each row of A, given at some entries, but for rounding.

        The better of two: over the box, and A . x less what A may fall. In a ball of l2 that is radius ||A||; squares
        that underflow lose at most the root of their number times 2^-1074. In a ball of l1 and the box, whose entries
        have room w around x, it is at most s radius + sum max(|A_i| - s, 0) w_i for any s >= 0; the steepest entries
        are filled first, and s is the steepness of the one that the radius ends at.
        """
        over_box = np.maximum(a, 0) @ self.low[entries] + np.minimum(a, 0) @ self.high[entries]
        if self.norm == "linf":
            return over_box
        if self.norm == "l2":
            fall = self.radius * (np.sqrt((a * a).sum(axis=1)) + 2.0**-500)
        else:
            rooms = (side[entries].clip(min=0) for side in (self.x - self.low, self.high - self.x))
            steep, room, order = np.abs(a), np.where(a > 0, *rooms), np.argsort(-np.abs(a), axis=1)
            steep, room = (np.take_along_axis(part, order, axis=1) for part in (steep, room))
            s = steep.max(axis=1, where=room.cumsum(axis=1) >= self.radius, initial=0, keepdims=True)
            fall = s[:, 0] * self.radius + (np.maximum(steep - s, 0) * room).sum(axis=1)
        return np.maximum(a @ self.x[entries] - fall * (1 + gamma(a.shape[1] + 8)) - 1e-300, over_box)
