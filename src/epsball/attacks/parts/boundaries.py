"""Likely other classes, and the boundaries with them of the linearised model, to which DeepFool and FAB step."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks.engine.query import Query, QueryLoss
from epsball.attacks.parts.tensors import column
from epsball.ball import Ball


def likeliest(logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"], count: int) -> Int64[Tensor, "n k"]:
    """Return the `count` classes of largest logits other than the label, or all if there are fewer.

    Classes that are masked for every row, by logits of -infinity, do not count.
    """
    others = logits.scatter(1, y[:, None], -torch.inf)
    most = int((others > -torch.inf).sum(1).amax()) if len(others) else others.shape[1] - 1
    # A masked class comes last, but before the label.
    ranked = logits.clamp(min=torch.finfo(logits.dtype).min).scatter(1, y[:, None], -torch.inf)
    return ranked.topk(max(1, min(count, most)), dim=1).indices


def nearest_boundary(
    query: Query,
    ball: Ball,
    points: Float[Tensor, "m *shape"],
    targets: Int64[Tensor, "n k"],
    rows: Int64[Tensor, " m"] | None = None,
) -> tuple[Float[Tensor, " m"], Float[Tensor, "m *shape"]]:
    """Return f_j and w_j of the boundary nearest to each point, at one forward and k backwards.

    f_j = z_j - z_y, w_j is its gradient, and j the target of least abs(f_j) / norm_*(w_j).

    Parameters
    ----------
    query, ball
        The examples, and the norm.
    points, rows
        As in `Query.gradient`.
    targets
        Classes other than the label, one row per active example.
    """
    _, values, gradients = query.gradient(points, [_towards(query.y, target) for target in targets.unbind(1)], rows)
    value, normal = values[0], gradients[0]
    if len(values) == 1:
        return value, normal
    least = value.abs() / ball.dual_norm(normal).clamp(min=1e-12)
    for other, gradient in zip(values[1:], gradients[1:], strict=True):
        distance = other.abs() / ball.dual_norm(gradient).clamp(min=1e-12)
        nearer = distance < least
        least, value = torch.where(nearer, distance, least), torch.where(nearer, other, value)
        normal = torch.where(column(nearer, normal), gradient, normal)
    return value, normal


def _towards(y: Tensor, target: Tensor) -> QueryLoss:
    """Return the loss z_j - z_y, j being the target of each active example."""

    def loss(logits: Tensor, points: Tensor, rows: Tensor | None) -> Tensor:
        label, other = (y, target) if rows is None else (y[rows], target[rows])
        return (logits.gather(1, other[:, None]) - logits.gather(1, label[:, None]))[:, 0]

    return loss
