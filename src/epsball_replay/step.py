"""One step of the network between two affine ones: L z + l <= y <= U z + u for a node y made of nodes z."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from epsball_replay.arithmetic import gamma
from epsball_replay.network import Array

SMALLEST, LARGEST = 2.0**-126, 2.0**127
"""What is smaller may be flushed to zero by float32; what is up to there does not overflow, whatever its rounding."""

# From this share of entries on, a matrix is multiplied as a dense one.
_DENSE = 1 / 24


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
    factor
        A bound on what a number that is flushed to zero may be multiplied with, beside the inputs.
    inner
        Entry by entry a bound on the intermediate results as deployed, where they may exceed the magnitude.
    """

    inputs: list[tuple[str, Any, Any]]
    below: Array
    above: Array
    size: Array
    deployed: float = 0
    extra: int = 0
    exact: bool = True
    factor: float = 1
    inner: Any = 0.0

    @cached_property
    def terms(self) -> int:
        """A bound on the products in one entry of L z or U z, and in one coefficient of rows times L and U."""
        return sum(_terms(part) for _, *both in self.inputs for part in both)

    def at(self, entries: Array) -> "Step":
        """Return the step at some entries; matrices stay whole."""
        some = [[p[..., entries] if isinstance(p, np.ndarray) else p for p in both] for _, *both in self.inputs]
        inputs = [(name, *both) for (name, *_), both in zip(self.inputs, some, strict=True)]
        return replace(self, inputs=inputs, **{n: getattr(self, n)[..., entries] for n in ("below", "above", "size")})

    def magnitude(self, sizes: dict[str, Array]) -> Array:
        """Return max(|L|, |U|) |z| + max(|l|, |u|) for bounds on |z|, by node."""
        return self.size + sum(np.maximum(*(_times(abs(part), sizes[z]) for part in both)) for z, *both in self.inputs)

    def ranges(self, ranges: dict[str, tuple[Array, Array]]) -> tuple[Array, Array]:
        """Return the least L z + l and the greatest U z + u over bounds of z, but for rounding."""
        low = self.below + sum(_least(lower, *ranges[name]) for name, lower, _ in self.inputs)
        return low, self.above - sum(_least(-upper, *ranges[name]) for name, _, upper in self.inputs)

    def deployed_error(self, magnitude: Array, sizes: dict[str, Array]) -> Array:
        """Return gamma32(n) (|W| |z| + |b|) + underflow for n roundings, for any order of summation.

        Inputs that are always 0 cost none, nor does adding them. An operation that underflows is off by
        at most 2**-126, one whose factor is flushed to zero by that times the other factor. What
        may overflow, at the end or on the way, is not bounded.
        """
        if not self.deployed:
            return np.zeros(magnitude.shape)
        most = max((float(sizes[z].max()) for z, _, _ in self.inputs), default=0.0)
        underflow = (self.deployed + 1) * SMALLEST * (2 + self.factor + most)
        # What is smaller than every number of float32 but 0 is 0.
        maps = [(part.astype(bool), sizes[z]) for z, part, _ in self.inputs if isinstance(part, csr_array)]
        sums = [part.astype(float) @ (size >= 2.0**-149) for part, size in maps]
        roundings = np.minimum(self.deployed, self.extra + sum(sums)) if sums else self.deployed
        error = gamma(roundings, 2.0**-24) * magnitude + underflow
        return np.where(np.maximum(magnitude, self.inner) <= LARGEST, error, np.inf)


def matrix(taps: Array, values: Any, columns: int) -> csr_array:
    """Return M with M[o, taps[o, k]] = values[o, k], for taps (..., k) of flat entries; -1 stands for none."""
    flat, real = taps.reshape(-1, taps.shape[-1]), taps.reshape(-1, taps.shape[-1]) >= 0
    values = np.broadcast_to(np.asarray(values, dtype=np.float64), taps.shape).reshape(flat.shape)
    starts = np.concatenate(([0], real.sum(axis=1).cumsum()))
    return csr_array((values[real], flat[real], starts), shape=(len(flat), columns))


def through(a: Array, entries: Array, part: Any) -> tuple[Array, Array]:
    """Return rows A M as the entries at which they are not 0 and their coefficients there, for A at some entries.

    M is a sparse matrix, or a vector at those entries that stands for a diagonal one.
    """
    if isinstance(part, np.ndarray):
        return entries, a * part
    rows = part if len(entries) == part.shape[0] else part[entries]
    reached = np.zeros(part.shape[1], dtype=bool)
    reached[rows.indices] = True
    columns, places = np.flatnonzero(reached), np.cumsum(reached) - 1
    local = csr_array((rows.data, places[rows.indices], rows.indptr), shape=(len(entries), len(columns)))
    if local.nnz > _DENSE * len(entries) * len(columns):
        return columns, a @ local.toarray()
    return columns, (local.T @ a.T).T


def joined(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the sum of two sets of rows, each given at its own entries."""
    if one[0] is other[0]:
        return one[0], one[1] + other[1]
    columns = np.union1d(one[0], other[0])
    total = np.zeros((len(one[1]), len(columns)))
    for entries, a in (one, other):
        total[:, np.searchsorted(columns, entries)] += a
    return columns, total


def _terms(part: Any) -> int:
    if isinstance(part, np.ndarray):
        return 1
    return int(max(np.diff(part.indptr).max(initial=0), np.bincount(part.indices).max(initial=0)))


def _times(part: Any, values: Array) -> Array:
    return part * values if isinstance(part, np.ndarray) else part @ values


def _least(part: Any, low: Array, high: Array) -> Array:
    # Halves of sums of a number and its magnitude are exact.
    return _times((part + abs(part)) / 2, low) + _times((part - abs(part)) / 2, high)
