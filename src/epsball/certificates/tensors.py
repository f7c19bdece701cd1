"""Small operations on rows of coefficients."""

import torch
from torch import Tensor


def dot(rows: Tensor, vector: Tensor) -> Tensor:
    """Return sum_i rows_i vector_i, (n, r), of rows (n, r, *shape) and vectors (n or 1, *shape)."""
    flat = rows.reshape(*rows.shape[:2], -1)
    column = vector.expand(len(vector), *rows.shape[2:]).reshape(len(vector), -1)
    if len(vector) == 1:
        return flat @ column[0]
    return torch.bmm(flat, column.unsqueeze(2)).squeeze(2)


def split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positive and the negative part."""
    return rows.clamp(min=0), rows.clamp(max=0)
