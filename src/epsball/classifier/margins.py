"""The margin, by which every verdict is given and every certificate is checked."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


def largest_other(logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return max_{j != y} z_j."""
    return logits.scatter(1, y[:, None], -torch.inf).amax(1)


def margins(logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Return z_y - max_{j != y} z_j, differences in float64; NaN where the logits have no margin.

    A logit of -infinity masks its class; NaN and +infinity leave no margin.
    """
    z = logits.double()
    label, other = z.gather(1, y[:, None])[:, 0], largest_other(z, y)
    return torch.where(torch.maximum(label, other) < torch.inf, label - other, torch.nan)
