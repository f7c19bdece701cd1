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

        The better of two: over the box, and over the ball, A . x - radius ||A||*, where the dual norm
        of l2 is l2 and of l1 is linf. Squares that underflow lose at most the root of their number
        times 2^-1074.
        """
        over_box = np.maximum(a, 0) @ self.low[entries] + np.minimum(a, 0) @ self.high[entries]
        if self.norm == "linf":
            return over_box
        dual = np.sqrt((a * a).sum(axis=1)) + 2.0**-500 if self.norm == "l2" else np.abs(a).max(axis=1, initial=0)
        over_ball = a @ self.x[entries] - dual * (self.radius * (1 + gamma(a.shape[1] + 8))) - 1e-300
        return np.maximum(over_ball, over_box)
