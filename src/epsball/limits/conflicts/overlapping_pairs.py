"""Overlapping pairs: an example and a partner of another label whose balls share a point."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from epsball.ball import Ball
from epsball.errors import InputError
from epsball.limits.conflicts.problem import problem
from epsball.limits.conflicts.sample import sample

_LEVELS = 8


@dataclass(frozen=True, kw_only=True)
class OverlappingPairs:
    """Pairs whose balls share a point: no classifier is robustly right on both.

    Parameters
    ----------
    example, partner
        (m,) positions in the examples and in the pool; by example, the nearest eighth of the
        radius first.
    common
        (m,) whether the rounded midpoint of the stored images lies in both balls exactly, so that
        it is a witness against at least one of the two. The others are ties: the balls meet, but in
        linf no float lies in both, and in l2 and l1 the rounded midpoint does not.

    Examples
    --------
    >>> x, pool = torch.tensor([[0.0]]), torch.tensor([[0.5]])
    >>> pairs = overlapping_pairs(x, torch.tensor([0]), pool, torch.tensor([1]), Ball("linf", "0.25"))
    >>> len(pairs), pairs.common.tolist()
    (1, [True])
    """

    example: Int64[Tensor, " m"]
    partner: Int64[Tensor, " m"]
    common: Bool[Tensor, " m"]

    def __len__(self) -> int:
        return len(self.example)

    @property
    def ties(self) -> int:
        """Number of pairs without a common float."""
        return int((~self.common).sum())

    def __str__(self) -> str:
        examples = len(self.example[self.common].unique())
        return (
            f"{len(self)} pairs of different label have balls that meet; {len(self) - self.ties} share a stored "
            f"point, against {examples} examples; {self.ties} are ties without one"
        )


def overlapping_pairs(
    x: Float[Tensor, "n *shape"],
    y: Int[Tensor, " n"],
    pool: Float[Tensor, "k *shape"],
    labels: Int[Tensor, " k"],
    ball: Ball,
) -> OverlappingPairs:
    """Return the pairs of an example and a partner of another label with d <= 2 radius.

    Decided as in `optimal_risk`: in integers where both sides are 8-bit images.

    Parameters
    ----------
    x, y
        Examples and labels.
    pool, labels
        Partners, in the type of x, and their labels.
    ball
        The perturbation set; its box changes nothing.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 0])
    >>> pairs = overlapping_pairs(x, y, torch.tensor([[0.25], [0.5]]), torch.tensor([0, 1]), Ball("l2", "0.25"))
    >>> print(pairs)
    2 pairs of different label have balls that meet; 2 share a stored point, against 2 examples; 0 are ties without one
    """
    if pool.shape[1:] != x.shape[1:] or pool.dtype != x.dtype:
        raise InputError(
            f"the pool holds {tuple(pool.shape[1:])} of {pool.dtype} and the examples are {tuple(x.shape[1:])} "
            f"of {x.dtype}; give partners of the same shape and type."
        )
    n = len(x)
    # The sides stand for the two classes, so that the graph holds exactly the pairs across.
    sides = torch.cat([torch.zeros(n, dtype=torch.int64), torch.ones(len(pool), dtype=torch.int64)])
    data = sample(torch.cat([x, pool.to(x.device)]), sides)
    found = problem(data, ball.norm, _grid(ball.radius))
    graph = found.exact
    example = data.order[graph.rows_of(np.arange(len(graph)))]
    partner = data.order[graph.neighbour] - n
    other = np.flatnonzero(y.cpu().numpy()[example] != labels.cpu().numpy()[partner])
    # The sort keeps the order of levels within an example's pairs.
    other = other[np.argsort(example[other], kind="stable")]
    columns = (example[other], partner[other], found.representable.level[other] < len(graph.radii))
    return OverlappingPairs(**dict(zip(("example", "partner", "common"), map(torch.from_numpy, columns), strict=True)))


def _grid(radius: Fraction) -> tuple[Fraction, ...]:
    """Return radii up to the ball's: a pair's level tells how near it is."""
    return (radius,) if radius == 0 else tuple(radius * i / _LEVELS for i in range(1, _LEVELS + 1))
