"""Gram matrices of one layer on one batch, in blocks: half the products, half the memory.

The n rows of a batch are divided into groups. A symmetric matrix is kept as one slab per group: the
rows of group g against the rows of the groups g, g+1, ... . The rest follows by symmetry.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

COLUMNS = 2048
"""Features centred and multiplied at a time: the copy fits in cache and bounds the memory."""

ORDINARY = 2.0**16
"""Features between this and its inverse need no scale: their fourth powers neither overflow nor underflow."""


def group_bounds(rows: int, groups: int) -> list[int]:
    """Return the bounds 0 = b_0 < ... < b_G = rows of nearly equal groups, G = min(rows, groups)."""
    groups = min(rows, groups)
    return [rows * g // groups for g in range(groups + 1)]


@dataclass(frozen=True)
class BlockGram:
    """A symmetric (n, n) matrix as slabs: slab g has the shape (m_g, n - b_g), m_g the size of group g."""

    slabs: list[Tensor]

    def diagonal(self) -> Float[Tensor, " n"]:
        """Return the diagonal of the matrix."""
        return torch.cat([slab.diagonal() for slab in self.slabs])

    def pairs(self) -> Iterator[Float[Tensor, "..."]]:
        """Yield the entries strictly above the diagonal, in pieces."""
        for slab in self.slabs:
            m = len(slab)
            first, second = torch.triu_indices(m, m, offset=1, device=slab.device)
            yield slab[first, second]
            yield slab[:, m:]

    def squared_distances(self) -> "BlockGram":
        """Return |x_i - x_j|^2 = K_ii + K_jj - 2 K_ij, not below 0, from inner products K."""
        q = self.diagonal()
        slabs, start = [], 0
        for slab in self.slabs:
            rows = q[start : start + len(slab), None]
            slabs.append((rows + q[None, start:] - 2.0 * slab).clamp_min_(0.0))
            start += len(slab)
        for slab in slabs:
            slab.diagonal().zero_()
        return BlockGram(slabs)


def columns(features: Float[Tensor, "n *shape"]) -> Iterator[Float[Tensor, "n p"]]:
    """Yield the features as matrices of at most about `COLUMNS` columns, without copying them all at once.

    Columns come in any order: Gram matrices do not depend on it.
    """
    per_row = features[0].numel()
    if per_row <= COLUMNS:
        yield features.reshape(len(features), per_row)
        return
    # Split along the axis that is outermost in memory: the pieces are then views.
    axis = max((i for i in range(1, features.ndim) if features.shape[i] > 1), key=features.stride)
    width = max(1, features.shape[axis] * COLUMNS // per_row)
    for part in features.split(width, dim=axis):
        yield from columns(part)


def widened(part: Tensor) -> Tensor:
    """Return half-precision features in float32; float32 and float64 as they are."""
    return part if part.dtype == torch.float64 else part.to(torch.float32)


def amplitude(features: Float[Tensor, "n *shape"]) -> float:
    """Return max |x_ij - m_j| over the features, 0 if none varies.

    The search ends at the first columns for which it is between 1/`ORDINARY` and `ORDINARY`. A feature
    varies if it differs from its mean by more than 64 units in the last place: rounding alone makes a
    constant differ by less. Not finite if a feature is not.
    """
    peak = 0.0
    for part in columns(features):
        mean = widened(part).mean(0)
        deviation = (widened(part) - mean).abs_()
        rounding = 64 * torch.finfo(part.dtype).eps * mean.abs()
        found = float(torch.where(deviation <= rounding, 0.0, deviation).amax())
        if not math.isfinite(found):
            return found
        peak = max(peak, found)
        if 1 / ORDINARY <= peak <= ORDINARY:
            break
    return peak


def linear_gram(features: Float[Tensor, "n *shape"], bounds: Sequence[int], scale: float) -> BlockGram:
    """Return s^2 <x_i - m, x_j - m> with the batch mean m and s = `scale`, summed in float64.

    The features are centred before they are multiplied, so that an offset cancels before products
    round; products are computed in the features' precision, a few thousand columns at a time.

    Parameters
    ----------
    features
        Rows first; the rest is flattened.
    bounds
        The groups of the rows (`group_bounds`).
    scale
        A power of two that keeps squares of the features from overflowing and underflowing.
    """
    n, groups = len(features), range(len(bounds) - 1)
    slabs = [features.new_zeros(bounds[g + 1] - bounds[g], n - bounds[g], dtype=torch.float64) for g in groups]
    for part in columns(features):
        part = widened(part)
        centred = part - part.mean(0)
        if scale != 1.0:
            centred *= scale
        for g in groups:
            slabs[g] += centred[bounds[g] : bounds[g + 1]] @ centred[bounds[g] :].T
    for slab in slabs:
        # A float product X X' need not be symmetric in its last bit, and HSIC's row sums need symmetry.
        square = slab[:, : len(slab)]
        square.copy_((square + square.T) / 2)
    return BlockGram(slabs)
