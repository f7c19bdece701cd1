"""Coefficients on their way from a node back to the input, and the account of what they lost."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epsball_replay.arithmetic import Arithmetic, Balls, gamma, upper
from epsball_replay.files import Array


@dataclass
class Flow:
    """Rows of coefficients by node still to be passed, a value each row so far, and its loss, rounded up.

    ``nodes`` bounds how many additions a row's value sees.
    """

    pending: dict[str, Array]
    rows: int
    nodes: int
    arithmetic: Arithmetic
    value: Any = 0.0
    lost: Array = field(default_factory=lambda: np.zeros(1))

    def take(self, name: str, magnitude: Array) -> Array:
        """Return the coefficients at a node, settled; their doubt is charged."""
        a, doubt = self.arithmetic.settled(self.pending.pop(name))
        self._charge(doubt, magnitude)
        return a

    def give(self, name: str, a: Array, magnitude: Array) -> None:
        """Add coefficients to those that wait at a node."""
        if name in self.pending:
            a = a + self.pending[name]
            self._charge(self.arithmetic.unit * np.abs(a) if self.arithmetic.unit else np.zeros(1), magnitude)
        self.pending[name] = a

    def lose(self, weight: Array, error: Array | None) -> None:
        """Charge |A| times a node's error vector."""
        if error is not None and error.any():
            self._charge(weight, error)

    def gain(self, a: Array, constant: Array) -> None:
        """Add A . constant to the values."""
        terms = (a * constant).reshape(self.rows, -1)
        self.value = self.value + terms.sum(axis=1)
        if self.arithmetic.unit:
            rounding = gamma(terms.shape[1] + self.nodes + 8, self.arithmetic.unit)
            self.lost = self.lost + rounding * np.abs(terms).sum(axis=1)

    def close(self, value: Array, lost: Array) -> None:
        """Add the least value on the ball."""
        self.value = self.value + value
        self.lost = self.lost + lost
        if self.arithmetic.unit:
            self.lost = self.lost + gamma(self.nodes + 8) * np.abs(value)

    def bound(self) -> Array:
        """Return the lower bounds: float64 rounded down, or balls."""
        lost = self.lost * (1 + 1e-9)
        if isinstance(self.arithmetic, Balls):
            return self.value - self.arithmetic.number(np.broadcast_to(lost, (self.rows,)))
        return np.nextafter(self.value - lost - 1e-15 * (np.abs(self.value) + lost), -np.inf)

    def _charge(self, weight: Array, error: Array) -> None:
        weight = upper(weight) if weight.dtype == object else weight
        if weight.any():
            self.lost = self.lost + (weight * error).reshape(len(weight), -1).sum(axis=1) * (1 + 1e-9)
