"""One step of the network between two affine ones: L z + l <= y <= U z + u for a node y made of nodes z."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from epsball_replay.arithmetic import gamma
from epsball_replay.network import Array


@dataclass(frozen=True)
class Step:
    """Affine bounds of a node's value; L and U are the same object where the node is affine.

    Parameters
    ----------
    inputs
        For each input its name, L and U: sparse matrices, or vectors that stand for diagonal ones.
    below, above
        l and u.
    size
        Entry by entry, at least |l| and |u|; together with |L| |z| what roundings are relative to.
    deployed
        A bound on the float32 roundings behind one entry as deployed; 0 where entries are only moved or chosen.
    extra
        A bound on the float64 roundings behind one coefficient here.
    exact
        Whether bounds of z become bounds of y without rounding: entries are moved, or u and l have room for it.
    """

    inputs: list[tuple[str, Any, Any]]
    below: Array
    above: Array
    size: Array
    deployed: float = 0
    extra: int = 0
    exact: bool = True

    def magnitude(self, sizes: dict[str, Array]) -> Array:
        """Return max(|L|, |U|) |z| + max(|l|, |u|) for bounds on |z|, by node."""
        return self.size + sum(np.maximum(_spread(lo, sizes[z]), _spread(up, sizes[z])) for z, lo, up in self.inputs)

    def ranges(self, ranges: dict[str, tuple[Array, Array]]) -> tuple[Array, Array]:
        """Return the least L z + l and the greatest U z + u over bounds of z, but for rounding."""
        low, high = self.below, self.above
        for name, lower, upper in self.inputs:
            low = low + _least(lower, *ranges[name])
            high = high - _least(-upper, *ranges[name])
        return low, high

    def deployed_error(self, magnitude: Array, sizes: dict[str, Array]) -> Array:
        """Return gamma32(n) (|W| |z| + |b|) + underflow for n roundings, for any order of summation.

        Inputs that are always 0 cost none, nor does adding them. An operation that underflows is off by
        at most 2**-126, one whose factor is flushed to zero by that times the other factor. Sums that
        may overflow are not bounded.
        """
        if not self.deployed:
            return np.zeros(magnitude.shape)
        largest = max((float(abs(lower).max()) for _, lower, _ in self.inputs if lower.size), default=0.0)
        most = max((float(sizes[z].max()) for z, _, _ in self.inputs), default=0.0)
        underflow = (self.deployed + 1) * 2.0**-126 * (2 + largest + most)
        # What is smaller than every number of float32 but 0 is 0.
        varying = {z: sizes[z] >= 2.0**-149 for z, _, _ in self.inputs}
        maps = [(part.astype(bool).astype(float), z) for z, part, _ in self.inputs if isinstance(part, csr_array)]
        sums = [part @ varying[z] for part, z in maps]
        roundings = np.minimum(self.deployed, self.extra + sum(sums)) if sums else self.deployed
        error = gamma(roundings, 2.0**-24) * magnitude + underflow
        return np.where(magnitude <= 2.0**127, error, np.inf)


def matrix(taps: Array, values: Any, columns: int) -> csr_array:
    """Return M with M[o, taps[o, k]] += values[o, k], for taps (..., k) of flat entries; -1 stands for none."""
    values = np.broadcast_to(np.asarray(values, dtype=np.float64), taps.shape)
    flat, real = taps.reshape(-1, taps.shape[-1]), taps.reshape(-1, taps.shape[-1]) >= 0
    rows = np.broadcast_to(np.arange(len(flat))[:, None], flat.shape)
    return csr_array((values.reshape(flat.shape)[real], (rows[real], flat[real])), shape=(len(flat), columns))


def _spread(part: Any, size: Array) -> Array:
    return abs(part) * size if isinstance(part, np.ndarray) else abs(part) @ size


def _least(part: Any, low: Array, high: Array) -> Array:
    if isinstance(part, np.ndarray):
        return np.where(part > 0, part * low, part * high)
    return part.maximum(0) @ low + part.minimum(0) @ high
