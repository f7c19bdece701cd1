"""Rows that are paid for: taking them, and putting their values back among all rows."""

import torch
from torch import Tensor


def only(paid: Tensor | None, points: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the points and owners of the rows that are paid for."""
    if paid is None:
        return points, rows
    owners = torch.arange(len(points), device=points.device) if rows is None else rows
    return points[paid], owners[paid]


def spread(values: Tensor, paid: Tensor | None, missing: float) -> Tensor:
    """Return values of the paid rows among all rows."""
    if paid is None:
        return values
    out = values.new_full((len(paid), *values.shape[1:]), missing)
    out[paid] = values
    return out
