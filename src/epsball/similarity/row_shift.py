"""How much a few rows matter: the similarity after a shift of one row in a hundred.

Moving the rows S by a distance d in a direction orthogonal to all features turns the linear
kernel K into K + d^2 J with J_ij = 1 for i, j in S, and HSIC is linear in each kernel:

    HSIC(K + d^2 J, L) = HSIC(K, L) + d^2 HSIC(J, L) .

So J is treated as one more layer, and the shifted similarity needs no further pass.

References
----------
Davari, Horoi, Natik, Lajoie, Wolf and Belilovsky, "Reliability of CKA as a similarity measure
in deep learning", 2022 (arXiv:2210.16156): translating a subset of the rows, which keeps them
linearly separable, can change CKA to almost any value.
"""

from itertools import pairwise

import torch
from jaxtyping import Float64
from torch import Tensor

from epsball.similarity.gram import BlockGram
from epsball.similarity.hsic import Moments

SHARE = 0.01
"""Share of the rows that is shifted, at least two rows per batch."""
DISTANCE = 10.0
"""Shift in units of the root mean squared distance of a row from the mean row."""


def marked_count(rows: int) -> int:
    """Return how many rows of a batch are shifted."""
    return min(rows, max(2, round(SHARE * rows)))


def marked_rows(bounds: list[int], device: torch.device) -> BlockGram:
    """Return the kernel J of a batch: 1 between its first `marked_count` rows, 0 elsewhere.

    The rows of a batch are in random order, so the first are as good as any.
    """
    marked = torch.zeros(bounds[-1], dtype=torch.float64, device=device)
    marked[: marked_count(bounds[-1])] = 1.0
    return BlockGram([marked[start:stop, None] * marked[None, start:] for start, stop in pairwise(bounds)])


def shifted_cka(moments: Moments, energy: Float64[Tensor, " layers"]) -> Float64[Tensor, "a b"]:
    """Return CKA after the shift of the marked rows in the features of the first network.

    Parameters
    ----------
    moments
        HSIC over all rows (the first subset), with J as the last layer on both sides.
    energy
        Mean squared distance of a row from the mean row, for each layer of the first network.
    """
    squared = (DISTANCE**2 * energy)[:-1]
    cross = moments.cross[0, :-1, :-1] + squared[:, None] * moments.cross[0, -1:, :-1]
    own = moments.self_a[0, :-1] + 2 * squared * moments.last_a[0, :-1] + squared**2 * moments.last_a[0, -1]
    return cross / (own[:, None] * moments.self_b[0, None, :-1]).sqrt()
