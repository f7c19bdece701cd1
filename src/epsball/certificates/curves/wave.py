"""`Wave`: the sine, shifted; convexity changes at every multiple of pi."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.curves.curve import Curve

FAR = 2.0**20
"""Inputs of this size and more are bounded by -1 and 1 alone: multiples of pi are known to 2^-31 up to there."""

_TURNED = 2.0**-28
"""Share of a period by which a turning point may lie outside an interval and still count as inside."""


@dataclass(frozen=True, kw_only=True)
class Wave(Curve):
    """f(x) = sin(x + phase).

    Over an interval [l, u] at most a period wide the pieces are counted from the last point at or before l where f
    rises through 0: concave, convex, concave, convex, each pi wide. Over wider ones f is bounded by -1 and 1.

    Parameters
    ----------
    phase
        0 for the sine, pi/2 for the cosine.
    """

    phase: float = 0.0

    def interval(self, box: Box) -> Box:
        """Return -1 and 1 where the interval holds a turning point, or nearly, and the values at the ends elsewhere."""
        at_ends = [self.value(end) for end in box]
        far = box.magnitude >= FAR
        high = torch.where(far | self._turns(box, math.pi / 2), 1.0, torch.maximum(*at_ends))
        low = torch.where(far | self._turns(box, -math.pi / 2), -1.0, torch.minimum(*at_ends))
        return Box(low, high)

    def _turns(self, box: Box, place: float) -> Tensor:
        """Return where the box holds a number 2 pi k + place - phase, or nearly."""
        low, high = ((end + (self.phase - place)) / (2 * math.pi) for end in box)
        return (high + _TURNED).floor() >= (low - _TURNED).ceil()

    def unknown(self, box: Box) -> Tensor:
        """Return where the cuts are not known."""
        return box.magnitude >= FAR

    def whole(self, box: Box) -> Tensor:
        """Return where the interval is wider than a period, or far from 0."""
        return (box.high - box.low >= 2 * math.pi) | (box.magnitude >= FAR)

    def cuts_in(self, box: Box) -> Sequence[Tensor]:
        """Return the three multiples of pi after the one that begins the first piece."""
        periods = ((box.low + self.phase) / (2 * math.pi)).floor()
        start = periods * (2 * math.pi) - self.phase
        return [start + step * math.pi for step in (1, 2, 3)]
