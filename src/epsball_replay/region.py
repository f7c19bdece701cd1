"""The points a claim is about: a ball around x, cut by a box."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from flint import arb, fmpq

from epsball_replay.arithmetic import Arithmetic, Balls, gamma, lower, upper
from epsball_replay.files import Array


@dataclass(frozen=True)
class Region:
    """All z with ||z - x|| <= radius in the norm and, with a box, low <= z <= high."""

    norm: str
    x: Array
    radius: Fraction
    box: tuple[float, float] | None

    @cached_property
    def corners(self) -> tuple[Array, Array]:
        """The least box around the region, entry by entry, in balls."""
        x: Any = np.frompyfunc(Fraction, 1, 1)(self.x)
        low, high = x - self.radius, x + self.radius
        if self.box is not None:
            box: Any = [Fraction(side) for side in self.box]
            low, high = np.maximum(low, box[0]), np.minimum(high, box[1])
        return _ball(low), _ball(high)

    @cached_property
    def low(self) -> Array:
        """The lower corner in float64, rounded down."""
        return lower(self.corners[0])

    @cached_property
    def high(self) -> Array:
        """The upper corner in float64, rounded up."""
        return upper(self.corners[1])

    def least(self, a: Array, arithmetic: Arithmetic) -> tuple[Array, Array]:
        """Return values v and losses e >= 0 such that A . z >= v - e on the region, a row of A each."""
        flat = a.reshape(len(a), -1)
        exact = isinstance(arithmetic, Balls)
        low, high = (side.ravel() for side in (self.corners if exact else (self.low, self.high)))
        value = (flat * np.where((flat > 0).astype(bool), low, high)).sum(axis=1)
        magnitude = np.abs(flat) * np.maximum(np.abs(self.low), np.abs(self.high)).ravel()
        terms = gamma(flat.shape[1] + 4, arithmetic.unit)
        lost = terms * np.asarray(magnitude.sum(axis=1)) if not exact else np.zeros(len(flat))
        if self.norm != "linf":
            round_value = self._by_norm(flat, arithmetic)
            lost_there = terms * ((np.abs(flat) * np.abs(self.x).ravel()).sum(axis=1)) if not exact else lost
            better = (round_value - lost_there > value - lost).astype(bool)
            value, lost = np.where(better, round_value, value), np.where(better, lost_there, lost)
        return value, lost

    def _by_norm(self, flat: Array, arithmetic: Arithmetic) -> Array:
        """Return A . x - radius ||A||*, the dual norm of l2 being l2, of l1 linf; float64 norms rounded up."""
        centre = (flat * arithmetic.number(self.x.ravel())).sum(axis=1)
        if isinstance(arithmetic, Balls):
            squares = (flat * flat).sum(axis=1)
            norms = (
                np.frompyfunc(lambda s: arb(s).sqrt(), 1, 1)(squares) if self.norm == "l2" else np.abs(flat).max(axis=1)
            )
            return centre - norms * _ball(np.array(self.radius, dtype=object))
        norms = np.sqrt((flat * flat).sum(axis=1)) if self.norm == "l2" else np.abs(flat).max(axis=1)
        radius = float(upper(_ball(np.array([self.radius], dtype=object)))[0])
        return centre - norms * (1 + gamma(flat.shape[1] + 8)) * radius - 1e-300


def _ball(fractions: Array) -> Array:
    exact: Any = np.frompyfunc(lambda q: arb(fmpq(q.numerator, q.denominator)), 1, 1)
    return exact(fractions)
