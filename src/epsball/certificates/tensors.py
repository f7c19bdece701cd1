"""Small operations on rows of coefficients."""

from torch import Tensor
import torch


def dot(rows: Tensor, vector: Tensor) -> Tensor:
    """Return sum_i rows_i vector_i, (n, r), of rows (n, r, *shape) and vectors (n or 1, *shape)."""
    flat = rows.flatten(2)
    column = vector.expand(len(vector), *rows.shape[2:]).flatten(1)
    if len(vector) == 1:
        return flat @ column[0]
    return torch.bmm(flat, column.unsqueeze(2)).squeeze(2)


def split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positive and the negative part."""
    return rows.clamp(min=0), rows.clamp(max=0)
