"""The margin, on which every verdict and every check of a certificate is based."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


def largest_other(logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return max_{j != y} z_j."""
    return logits.scatter(1, y[:, None], -torch.inf).amax(1)


def margins(logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Return z_y - max_{j != y} z_j, differences in float64; NaN for logits without a margin.

    A logit of -infinity masks its class; logits with NaN or +infinity have no margin.
    """
    z = logits.double()
    label, other = z.gather(1, y[:, None])[:, 0], largest_other(z, y)
    return torch.where(torch.maximum(label, other) < torch.inf, label - other, torch.nan)
