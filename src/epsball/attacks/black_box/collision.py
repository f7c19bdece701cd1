"""Collision: where balls of different label meet, a common point is misclassified for one of the two examples."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball import pixels
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import InputError
from epsball.limits import OverlappingPairs, midpoints, overlapping_pairs
from epsball.randomness import Keys

_ROWS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Collision(Attack):
    """Points in the intersection of an example's ball and that of a partner of another label; needs no gradient.

    A point of both balls is misclassified for at least one of the two, by any classifier. Two such
    points are tried for each pair: the one nearest to the partner, which is likelier to be
    misclassified for the example, and the midpoint, which is the same for both. So where each of a pair
    is attacked with the other in its pool, at least one is broken. Pairs without a common point among
    floats promise nothing (`meetings` counts them).

    Parameters
    ----------
    pool
        Partners (k, *shape), as pixels or as uint8, and their labels (k,).
    partners
        Most partners tried per example, nearest first.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> pool = torch.tensor([[0.5, 0.7, 0.2]]), torch.tensor([1])
    >>> eb.attacks.Collision(pool=pool, partners=10).gradient_free
    True
    """

    name: ClassVar[str] = "collision"
    gradient_free: ClassVar[bool] = True

    pool: tuple[Tensor, Tensor]
    partners: int = 100

    def __post_init__(self) -> None:
        check_count("partners", self.partners)
        if not (isinstance(self.pool, tuple) and len(self.pool) == 2 and all(isinstance(p, Tensor) for p in self.pool)):
            raise InputError(f"the pool is a {type(self.pool).__name__}; give a pair of tensors, (partners, labels).")
        x, y = self.pool
        if len(x) != len(y) or y.ndim != 1 or y.is_floating_point() or len(x) == 0:
            raise InputError(
                f"the pool has {len(x)} partners and labels {tuple(y.shape)}, {y.dtype}; give at least one partner, "
                "and one integer each."
            )

    def meetings(self, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], ball: Ball) -> OverlappingPairs:
        """Return the pairs of an example and a partner whose balls meet, ties marked."""
        points, labels = self._partners(x)
        return overlapping_pairs(x, y, points, labels, ball)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Try the points that active examples share with their partners, nearest partners first."""
        query.begin(0)
        points, _ = self._partners(query.x)
        pairs = self.meetings(query.x, query.y, ball)
        example, partner = (column.to(query.x.device) for column in (pairs.example, pairs.partner))
        index, rank = query.index[example], _rank(example)
        first, size = 0, 1
        while first < min(self.partners, int(rank.max()) + 1 if len(rank) else 0):
            turn = torch.nonzero((rank >= first) & (rank < min(first + size, self.partners)))[:, 0]
            for chosen in turn.split(_ROWS):
                self._try(query, index[chosen], points, partner[chosen])
            first, size = first + size, 2 * size

    def _try(self, query: Query, index: Tensor, points: Tensor, partner: Tensor) -> None:
        """Try the point of each ball nearest to the partner, then the midpoint."""
        rows = query.rows_of(index)
        rows, partner, index = rows[rows >= 0], partner[rows >= 0], index[rows >= 0]
        if len(rows) == 0:
            return
        query.logits(query.neighbourhood.take(rows).project(points[partner]), rows)
        rows = query.rows_of(index)
        rows, partner = rows[rows >= 0], partner[rows >= 0]
        if len(rows):
            query.logits(midpoints(query.x[rows], points[partner]), rows)

    def _partners(self, x: Tensor) -> tuple[Tensor, Tensor]:
        points, labels = self.pool
        points = pixels.from_8bit(points) if points.dtype == torch.uint8 else points
        return points.to(x), labels.to(x.device)


def _rank(example: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
    """Return the number of each row among those of its example; rows of one example are adjacent."""
    rows = torch.arange(len(example), device=example.device)
    if len(rows) == 0:
        return rows
    begins = torch.cat([example.new_ones(1, dtype=torch.bool), example[1:] != example[:-1]])
    return rows - rows[begins][begins.cumsum(0) - 1]
