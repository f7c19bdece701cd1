"""The trust-region problem on a quadratic model: maximise c s + s T s / 2 over norm(s) <= reach, batched."""

import torch
from jaxtyping import Float
from torch import Tensor

_BISECTIONS = 60


def solve(
    T: Float[Tensor, "n k k"], c: Float[Tensor, "n k"], reach: Float[Tensor, " n"], sign: Float[Tensor, " n"]
) -> Float[Tensor, "n k"]:
    """Return a maximiser s of c s + s T s / 2 over norm(s) <= reach, row by row.

    s is optimal exactly if (mu - T) s = c for some mu >= 0 with mu - T positive semidefinite and
    mu (reach - norm(s)) = 0. In the eigenbasis of T, s_i = c_i / (mu - lambda_i), whose length falls
    as mu grows from max(lambda_max, 0): bisection finds mu. Where even at that end s is shorter than
    `reach` and lambda_max > 0 (the "hard case": c has nothing along the top eigenvector), the top
    eigenvector makes up the length.

    Parameters
    ----------
    T, c
        Symmetric matrices and linear parts, float64.
    reach
        Lengths of the trust regions.
    sign
        Which way to go along the top eigenvector in the hard case, +1 or -1.

    References
    ----------
    Moré and Sorensen, "Computing a trust region step", SIAM J. Sci. Stat. Comput. 4, 1983.
    """
    values, vectors = torch.linalg.eigh(T)
    along = (vectors.mT @ c[..., None])[..., 0]
    size = values.abs().amax(1).clamp(min=torch.finfo(T.dtype).tiny)
    low = values[:, -1].clamp(min=0.0)
    least = low + 1e-12 * size
    # At mu = lambda_max + norm(c) / reach the length is at most reach.
    high = torch.maximum(least, low + torch.linalg.vector_norm(c, dim=1) / reach.clamp(min=1e-300))
    low = least.clone()
    for _ in range(_BISECTIONS):
        mu = (low + high) / 2
        long = torch.linalg.vector_norm(_step(along, values, mu), dim=1) > reach
        low, high = torch.where(long, mu, low), torch.where(long, high, mu)
    s = _step(along, values, high)
    rest = (reach**2 - (s**2).sum(1)).clamp(min=0.0).sqrt()
    hard = (values[:, -1] > 0) & (rest > 1e-6 * reach)
    s[:, -1] += torch.where(hard, sign * rest, torch.zeros_like(rest))
    return (vectors @ s[..., None])[..., 0]


def _step(along: Tensor, values: Tensor, mu: Tensor) -> Tensor:
    """Return c_i / (mu - lambda_i), 0 where both vanish."""
    gap = mu[:, None] - values
    return torch.where(along == 0, torch.zeros_like(along), along / gap.clamp(min=1e-300))
