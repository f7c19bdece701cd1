"""A labelled sample as the limit sees it: points in integers where the data are 8-bit, weights exact.

`Sample` reads rows on demand, so `x` may be a memory map larger than memory.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.ball import NormName
from epsball.errors import InputError
from epsball.limits.conflicts.bounding_boxes import FEW, curve_position
from epsball.radius import simplest_fraction

ORDER: dict[NormName, float] = {"linf": np.inf, "l2": 2.0, "l1": 1.0}
"""The p of each norm."""

_ROWS = 4096
_SCALES = (255, 1, 2, 4, 8, 16, 32, 64, 128)
_LARGEST_TOTAL = 2**61
_LARGEST_VALUE = 1e15


@dataclass(frozen=True, kw_only=True)
class Sample:
    """n labelled points, sorted by class; with few coordinates, near points stand together within a class.

    Positions are those of the sorted order unless they are said to be the caller's.

    Parameters
    ----------
    values
        (n, d) in the caller's order: uint8, float32 or float64; possibly a memory map.
    largest
        Largest absolute value of the data.
    scale
        Integers k stand for k / scale (255 for 8-bit pixels); None: the values are floats.
    labels
        (n,) class numbers 0..C-1 in sorted order.
    classes
        The caller's label of each class number.
    order
        (n,) the caller's position of each sorted position.
    capacity
        (n,) weights times `total`, as integers, in sorted order.
    total
        The integer that stands for weight one.
    shortfall
        Total weight lost by rounding down to integers: 0 unless no exact scale exists.
    """

    values: np.ndarray
    largest: float
    scale: int | None
    labels: Int64[np.ndarray, " n"]
    classes: tuple[int, ...]
    order: Int64[np.ndarray, " n"]
    capacity: Int64[np.ndarray, " n"]
    total: int
    shortfall: float

    def __len__(self) -> int:
        return len(self.order)

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return self.values.shape[1]

    @property
    def bounds(self) -> Int64[np.ndarray, " c"]:
        """First sorted position of each class, and n at the end."""
        return np.searchsorted(self.labels, np.arange(len(self.classes) + 1))

    @property
    def magnitude(self) -> float:
        """Largest absolute value a coordinate can take (for floats: takes), in pixel units."""
        return self.largest if self.scale is None else 255 / self.scale

    def rounding_loss(self, norm: NormName) -> Fraction:
        """Return an upper bound of how far rounding two centres and their midpoint to floats moves a distance.

        4 u m kappa: u is 2^-24 for float32, m the magnitude (at least the smallest normal number),
        kappa = 1, sqrt(d), d for linf, l2, l1.
        """
        u, normal = (2.0**-53, 2.0**-1022) if self.values.dtype == np.float64 else (2.0**-24, 2.0**-126)
        kappa = {"linf": 1.0, "l2": math.sqrt(self.dimension), "l1": float(self.dimension)}[norm]
        return Fraction(4.0 * u) * Fraction(max(self.magnitude, normal)) * Fraction(kappa * (1.0 + 2.0**-40))

    def rows(self, positions: np.ndarray | slice) -> np.ndarray:
        """Return the points at sorted positions: integers as uint8, floats as they are stored."""
        block = np.asarray(self.values[self.order[positions]])
        if self.scale is None or block.dtype == np.uint8:
            return block
        return np.rint(block.astype(np.float64) * self.scale).astype(np.uint8)

    def centres(self, positions: np.ndarray | slice) -> np.ndarray:
        """Return the points as floats: float32 k/255 for 8-bit data, else as they are stored."""
        block = np.asarray(self.values[self.order[positions]])
        if block.dtype == np.uint8:
            # One correctly rounded division, as `epsball.pixels.from_8bit`.
            return block.astype(np.float32) / np.float32(255)
        return block

    def pixels(self) -> np.ndarray:
        """Return the 256 floats that the integers 0..255 stand for."""
        dtype = np.dtype(np.float32) if self.values.dtype == np.uint8 else self.values.dtype
        return np.arange(256, dtype=dtype) / dtype.type(self.scale)

    def to_caller(self, column: np.ndarray) -> np.ndarray:
        """Return a column over sorted positions (last axis) in the caller's order."""
        out = np.empty_like(column)
        out[..., self.order] = column
        return out


def sample(x: Any, y: Any, weights: Any = None) -> Sample:
    """Check the data and return it as a `Sample`.

    Parameters
    ----------
    x
        (n, ...) array, tensor or memory map: uint8, or finite floats in pixel units.
    y
        (n,) integer labels of at least two classes.
    weights
        (n,) non-negative, summing to one; default 1/n each. Fractions are exact; a float means
        the simplest fraction that rounds to it.

    Raises
    ------
    InputError
        If shapes disagree, a value is not finite, there is only one class, or the weights do not
        sum to one.
    """
    values, labels = _array(x), _labels(y)
    if values.ndim < 1 or len(values) != len(labels):
        raise InputError(f"x has {len(values) if values.ndim else 0} rows and y {len(labels)}; give one label per row.")
    if values.size == 0:
        raise InputError(f"x has shape {values.shape}: no coordinates; give points of the shape (n, ...).")
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"the labels hold {len(classes)} class ({classes.tolist()}); the limit compares classes, "
            "so give examples of at least two."
        )
    values = values.reshape(len(values), -1)
    capacity, total, shortfall = capacities(weights, len(values))
    scale, largest = _scale(values)
    place = curve_position(values) if values.shape[1] <= FEW else np.zeros(len(values))
    order = np.lexsort((place, numbers)).astype(np.int64)
    return Sample(
        values=values,
        largest=largest,
        scale=scale,
        labels=numbers[order].astype(np.int64),
        classes=tuple(int(label) for label in classes),
        order=order,
        capacity=capacity[order],
        total=total,
        shortfall=shortfall,
    )


def part_of(data: Sample, positions: Int64[np.ndarray, " m"]) -> Sample:
    """Return the sample of some sorted positions, with equal weights; classes keep only their order."""
    present, labels = np.unique(data.labels[positions], return_inverse=True)
    return replace(
        data,
        labels=labels.astype(np.int64),
        classes=tuple(data.classes[c] for c in present),
        order=data.order[positions],
        capacity=np.ones(len(positions), dtype=np.int64),
        total=len(positions),
        shortfall=0.0,
    )


def _array(x: Any) -> np.ndarray:
    """Return x as an array of uint8, float32 or float64 without copying where possible."""
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        array = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    else:
        array = np.asanyarray(x)
    if array.dtype == np.uint8 or array.dtype in (np.float32, np.float64):
        return array
    if array.dtype == np.float16:
        return array.astype(np.float32)
    raise InputError(f"x is {array.dtype}; points are uint8 pixels or floats. Convert with .astype('float32').")


def _labels(y: Any) -> np.ndarray:
    array = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise InputError(f"y is {array.dtype} of shape {array.shape}; labels are integers of shape (n,).")
    return array


def _scale(values: np.ndarray) -> tuple[int | None, float]:
    """Return the scale on which every value is an integer of 0..255, or None, and the largest |value|.

    Floats count as integers only if each is exactly the float nearest to k / scale.
    """
    if values.dtype == np.uint8:
        return 255, 1.0
    left, largest = list(_SCALES), 0.0
    for start in range(0, len(values), _ROWS):
        block = np.asarray(values[start : start + _ROWS])
        if not np.isfinite(block).all():
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise InputError(f"x has a value that is not finite in row {row}; remove or repair that row.")
        largest = max(largest, float(np.abs(block).max()))
        left = [scale for scale in left if _on_grid(block, scale)]
    if largest > _LARGEST_VALUE:
        raise InputError(f"x has a value of size {largest:g}; the limit takes values up to {_LARGEST_VALUE:g}.")
    return (left[0] if left else None), largest


def _on_grid(block: np.ndarray, scale: int) -> bool:
    k = np.rint(block.astype(np.float64) * scale)
    # The quotient is taken in the dtype of the data: k / 255 in float32 is the stored centre.
    stored = k.astype(block.dtype) / block.dtype.type(scale)
    return bool(((k >= 0) & (k <= 255) & (stored == block)).all())


def capacities(weights: Any, n: int) -> tuple[np.ndarray, int, float]:
    """Return integer weights (n,), the integer that stands for weight one, and what rounding down lost.

    The scale is the least common denominator where the sum then fits 61 bits, so capacities are
    exact; otherwise weights are rounded down to multiples of 2^-60, which lowers the optimal risk
    by at most the loss returned.
    """
    if weights is None:
        return np.ones(n, dtype=np.int64), n, 0.0
    fractions = [_fraction(weight) for weight in _weight_list(weights)]
    if len(fractions) != n:
        raise InputError(f"there are {len(fractions)} weights for {n} examples; give one per example.")
    if min(fractions) < 0:
        raise InputError(f"a weight is {float(min(fractions))}; weights are not negative.")
    total = _common_denominator(fractions)
    scaled = [math.floor(fraction * total) for fraction in fractions] if total else []
    if total and sum(scaled) == total:
        return np.array(scaled, dtype=np.int64), total, 0.0
    weight_sum = math.fsum(map(float, fractions))
    if abs(weight_sum - 1.0) > (n + 1) * 2.0**-52:
        raise InputError(f"the weights sum to {weight_sum}, not to one; divide them by their sum.")
    total = 2**60
    scaled = [math.floor(fraction * total) for fraction in fractions]
    return np.array(scaled, dtype=np.int64), total, max(0.0, 1.0 - sum(scaled) / total)


def _common_denominator(fractions: Sequence[Fraction]) -> int | None:
    """Return the least common denominator, or None where capacities would not fit 61 bits."""
    total = 1
    for fraction in fractions:
        total = math.lcm(total, fraction.denominator)
        if total > _LARGEST_TOTAL:
            return None
    return total


def _weight_list(weights: Any) -> Sequence[Any]:
    if isinstance(weights, Tensor):
        return weights.detach().cpu().double().tolist()
    return weights.tolist() if isinstance(weights, np.ndarray) else list(weights)


def _fraction(weight: Any) -> Fraction:
    """Return an exact weight; a float means the simplest fraction that rounds to it."""
    if isinstance(weight, float):
        if not math.isfinite(weight):
            raise InputError(f"a weight is {weight}; weights are finite numbers.")
        return simplest_fraction(weight)
    try:
        return Fraction(weight)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"a weight is {weight!r}; weights are numbers, or texts such as '1/3'.") from error


def prior_weights(y: Any, priors: Mapping[int, Any]) -> list[Fraction]:
    """Return weights that give class c the prior pi_c, split evenly over its examples: pi_c / n_c.

    Parameters
    ----------
    y
        (n,) labels.
    priors
        A number or text such as ``"1/2"`` for every label that occurs; they sum to one.

    Examples
    --------
    >>> prior_weights(np.array([0, 0, 1]), {0: "1/2", 1: "1/2"})
    [Fraction(1, 4), Fraction(1, 4), Fraction(1, 2)]
    """
    labels = _labels(y)
    names, counts = np.unique(labels, return_counts=True)
    missing = [int(name) for name in names if int(name) not in priors]
    if missing:
        raise InputError(f"there is no prior for the labels {missing}; give one for each label that occurs.")
    share = {int(name): _fraction(priors[int(name)]) / int(count) for name, count in zip(names, counts, strict=True)}
    return [share[int(label)] for label in labels]
