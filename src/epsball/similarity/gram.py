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

MOST_ROUNDED = 4
"""Units in the last place by which rounding alone makes a constant feature differ from its mean."""

NOTED = 1 / 64
"""Rounding above this share of the largest deviation is worth saying."""


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


def centred(part: Float[Tensor, "n p"], scale: float = 1.0) -> Float[Tensor, "n p"]:
    """Return s (x_i - m) with the mean row m and s = `scale`, in float64.

    A provisional mean is subtracted first and the mean of what remains then: the first may be wrong by rounding
    of the size of a common offset, the second is not. float32 and half-precision features lose nothing by it.
    """
    rest = part.to(torch.float64)
    # Divided before they are summed: the sum of large features would overflow.
    rest = (rest - (rest / len(rest)).sum(0)).mul_(scale)
    return rest - rest.mean(0)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How far the features of a layer lie from their means.

    A stored feature is rounded, and so is what a layer computes: one that differs from its mean by at most
    `MOST_ROUNDED` units in the last place of that mean is not known to vary.

    Parameters
    ----------
    peak
        max |x_ij - m_j| over the features that vary, 0 if none does. Not finite if a feature is not.
    rounded
        The same over those that differ from their mean by no more than rounding.
    step
        The largest unit in the last place of the mean of a feature that varies.
    """

    peak: float
    rounded: float
    step: float

    @property
    def undefined(self) -> str | None:
        """Why the similarity of the features is not defined, or None."""
        if not max(self.peak, self.rounded) > 0:
            return "its features are constant"
        if self.peak > self.rounded or not math.isfinite(self.peak):
            return None
        return (
            f"rounding: most of its variation, {self.rounded:.2g}, is at most {MOST_ROUNDED} units in the last place "
            "of the features' mean. Subtract the offset before the network, or compute in float64"
        )

    @property
    def remark(self) -> str | None:
        """What rounding does to features that vary, where that is worth saying."""
        share = self.step / self.peak
        return f"its features are rounded to {share:.1%} of their largest deviation" if share > NOTED else None


def variation(features: Float[Tensor, "n *shape"]) -> Variation:
    """Return how far features lie from their means."""
    peak = rounded = step = 0.0
    for part in columns(features):
        deviation = centred(part).abs_().amax(0)
        unit = torch.finfo(part.dtype).eps * part.to(torch.float64).mean(0).abs()
        if not torch.isfinite(deviation).all():
            return Variation(peak=math.inf, rounded=0.0, step=0.0)
        varies = deviation > MOST_ROUNDED * unit
        peak = max(peak, float(deviation[varies].amax())) if varies.any() else peak
        step = max(step, float(unit[varies].amax())) if varies.any() else step
        rounded = max(rounded, float(deviation[~varies].amax())) if not varies.all() else rounded
    return Variation(peak=peak, rounded=rounded, step=step)


def linear_gram(features: Float[Tensor, "n *shape"], bounds: Sequence[int], scale: float) -> BlockGram:
    """Return s^2 <x_i - m, x_j - m> with the batch mean m and s = `scale`, summed in float64.

    The features are centred and scaled in float64 before they are multiplied, so that an offset cancels before
    anything rounds; products are computed in the features' precision, in float32 at least, a few thousand columns
    at a time.

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
        rows = centred(part, scale)
        rows = rows if part.dtype == torch.float64 else rows.to(torch.float32)
        for g in groups:
            slabs[g] += rows[bounds[g] : bounds[g + 1]] @ rows[bounds[g] :].T
    for slab in slabs:
        # A float product X X' need not be symmetric in its last bit, and HSIC's row sums need symmetry.
        square = slab[:, : len(slab)]
        square.copy_((square + square.T) / 2)
    return BlockGram(slabs)
