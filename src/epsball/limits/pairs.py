"""The pairs that an optimal adversary merges, nearest first, as images."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.ball import Ball
from epsball.errors import InputError
from epsball.limits.figures import pairs_figure
from epsball.limits.optimal_classifier import Optimum

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hard_pairs(
    x: Float[Tensor, "n c h w"], y: Int64[Tensor, " n"], norm: str, optimum: Optimum, count: int = 6
) -> "Figure":
    """Return pairs of the optimal coupling as images, each with the midpoint that both balls hold.

    Parameters
    ----------
    x, y
        Images in [0, 1] and labels, in the order given to `optimal_risk`.
    norm
        Its norm.
    optimum
        The optimum at one radius.
    count
        At most so many pairs, the nearest.

    Raises
    ------
    InputError
        If no two examples conflict, or the data are no images.
    """
    if x.ndim != 4:
        raise InputError(f"the data have shape {tuple(x.shape)}; pairs are drawn for images, (n, c, h, w).")
    if not len(optimum.coupling):
        raise InputError(f"no two examples conflict at radius {float(optimum.radius):g}; take a larger one.")
    # The double cover may couple a pair in both directions.
    first, second = torch.from_numpy(np.unique(np.sort(optimum.coupling, axis=1), axis=0)).T
    ball = Ball(norm, optimum.radius, None, None)
    distance = torch.cat([ball.distance(x[a], x[b]) for a, b in zip(first.split(256), second.split(256), strict=True)])
    nearest = torch.argsort(distance, stable=True)[:count]
    a, b = first[nearest], second[nearest]
    titles = [
        (f"label {y[i]}, example {i}", f"midpoint, {half:.4g} from both", f"label {y[j]}, example {j}")
        for i, j, half in zip(a.tolist(), b.tolist(), (distance[nearest] / 2).tolist(), strict=True)
    ]
    return pairs_figure(x[a], (x[a] + x[b]) / 2, x[b], titles)
