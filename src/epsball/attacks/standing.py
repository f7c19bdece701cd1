"""Finding examples again among those that still stand."""

import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.attacks.query import Query


def place(query: Query, index: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
    """Return the rows among the standing examples of those at positions `index` of the call; -1 where they left."""
    rows = torch.full((query.total,), -1, dtype=torch.int64, device=index.device)
    rows[query.index] = torch.arange(len(query.index), device=index.device)
    return rows[index]
