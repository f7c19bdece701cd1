"""For few coordinates: an order that keeps near points together, and boxes that tell which blocks lie apart."""

from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float64, UInt64

FEW = 8
"""Coordinates up to which blocks of points get a bounding box."""


def curve_position(values: np.ndarray) -> UInt64[np.ndarray, " n"]:
    """Return the position of each point along Morton's curve: the bits of its coordinates interleaved."""
    n, d = values.shape
    points = values.astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    bits = min(52, 63 // d)  # 2^52 cells are told apart in float64
    cells = np.minimum((points - low) / spread * 2.0**bits, 2.0**bits - 1.0).astype(np.uint64)
    place = np.zeros(n, dtype=np.uint64)
    for bit in range(bits - 1, -1, -1):
        for p in range(d):
            place = (place << np.uint64(1)) | ((cells[:, p] >> np.uint64(bit)) & np.uint64(1))
    return place


class Boxes:
    """Bounding boxes of consecutive blocks of points.

    Parameters
    ----------
    low, high
        (b, d) least and greatest coordinates of each block.
    """

    def __init__(self, low: Float64[np.ndarray, "b d"], high: Float64[np.ndarray, "b d"]) -> None:
        self.low, self.high = low, high

    def near(self, points: np.ndarray, order: float, reach: Fraction) -> Bool[np.ndarray, " b"]:
        """Return which boxes may hold a point within `reach` of one of `points`, in the norm of this order.

        A gap is one subtraction, so its relative error is far below the margin left here.
        """
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        gaps = np.maximum(0.0, np.maximum(self.low - high, low - self.high))
        return np.linalg.norm(gaps, ord=order, axis=1) <= float(reach) * (1.0 + 1e-9)
