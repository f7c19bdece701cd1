"""Small operations on rows of coefficients. An example may have no axes: a number."""

import torch
from torch import Tensor


def flat(tensor: Tensor, lead: int) -> Tensor:
    """Return the tensor with all axes after the first `lead` as one."""
    return tensor.reshape(*tensor.shape[:lead], -1)


def dot(rows: Tensor, vector: Tensor) -> Tensor:
    """Return sum_i rows_i vector_i, (n, r), of rows (n or 1, r, *shape) and vectors (n or 1, *shape)."""
    rows, vector = as_stored(rows, vector.expand(len(vector), *rows.shape[2:]))
    row = flat(vector, 1)
    if len(rows) == 1:
        return row @ flat(rows, 2)[0].T
    if len(vector) == 1:
        return flat(rows, 2) @ row[0]
    # The vector on the left: batched products with a single column are several times slower.
    return torch.bmm(row.unsqueeze(1), flat(rows, 2).transpose(1, 2)).squeeze(1)


def as_stored(rows: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
    """Return rows (n, r, channels, *spatial) and vectors (..., channels, *spatial), channels last if the rows lie so.

    Flattening the axes then copies no rows.
    """
    spatial = rows.ndim - 3
    if spatial < 1 or rows.is_contiguous() or not rows.movedim(2, -1).is_contiguous():
        return rows, *vectors
    return rows.movedim(2, -1), *(vector.movedim(-1 - spatial, -1) for vector in vectors)


def rowwise_dot(rows: Tensor, vectors: Tensor) -> Tensor:
    """Return sum_i rows_i vector_i, (n, r), of rows (n or 1, r, size) and vectors (n or 1, r or 1, size)."""
    return dot(rows, vectors[:, 0]) if vectors.shape[1] == 1 else (rows * vectors).sum(dim=2)


def split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positive and the negative part."""
    return rows.clamp(min=0), rows.clamp(max=0)


def summed_to(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return rows (m, *larger) summed over the axes that broadcasting from `shape` repeats."""
    if not shape:
        return flat(rows, 1).sum(dim=1)
    axes = [axis + 1 for axis, length in enumerate(shape) if length == 1 and rows.shape[axis + 1] != 1]
    return rows.sum(dim=axes, keepdim=True) if axes else rows
