"""The Square attack: random search with squares that grow smaller, by scores alone."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.auto_pgd.ascent import auto_pgd_from
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.objective import RowObjective, untargeted
from epsball.attacks.parts.square_moves import Grid, moves_in
from epsball.ball import Ball
from epsball.checks import check_count, check_counts
from epsball.errors import InputError
from epsball.randomness import Keys

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the squares' share of the image is halved, as published for 10,000 of them."""

BLOCK = 64
"""Queries whose random words are drawn together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Square(Attack):
    """The Square attack, on the margin.

    Costs queries + 1 forwards per restart, and gradients for the polish only.

    Parameters
    ----------
    queries
        Proposals per restart.
    restarts
        Number of random starts.
    share
        p, the share of the image that the first squares cover.
    schedule
        Number of queries over which the published schedule of p extends. AutoAttack's is 10,000 for any
        number of queries.
    polish
        Steps of Auto-PGD from the best points at the end of a restart (published: 0).

    References
    ----------
    Andriushchenko, Croce, Flammarion and Hein, "Square Attack: a query-efficient black-box adversarial
    attack via random search", ECCV 2020, algorithms 1 to 3; in l1 as in Croce and Hein, "Mind the box",
    ICML 2021.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.Square(queries=20)).broken
    tensor([True])
    """

    name: ClassVar[str] = "square"
    tolerance: ClassVar[float | None] = 1.0
    gradient_free: ClassVar[bool] = True

    queries: int = 5000
    restarts: int = 1
    share: float = 0.8
    schedule: int = 10_000
    polish: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "queries", "restarts", "schedule")
        if self.polish:
            check_count("polish", self.polish)
        if not 0 < self.share <= 1:
            raise InputError(f"share is {self.share}; it is the share of the image the first squares cover, in (0, 1].")

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        for restart in range(self.restarts):
            query.begin(restart)
            objective = RowObjective(query, untargeted(losses.margin))
            best = self.search(objective, keys[query.index].derive(restart))
            if self.polish and len(best):
                auto_pgd_from(best, objective, self.polish)

    def search(self, objective: RowObjective, keys: Keys) -> Float[Tensor, "m *shape"]:
        """Search from one start per row; return the best points of the remaining rows."""
        moves = moves_in(objective.neighbourhood)
        grid = moves.grid
        best = moves.first(keys.derive("first"))
        margin, going_on = objective.margin(best)
        margin = margin.nan_to_num(nan=torch.inf)
        words, draws = keys.words.new_zeros(len(best), 0), []
        for query in range(self.queries):
            if going_on is not None:
                best, margin, keys, moves = best[going_on], margin[going_on], keys[going_on], moves.take(going_on)
                words = words[going_on]
            if len(best) == 0:
                break
            block, place = divmod(query, BLOCK)
            if place == 0:
                words = keys.derive("queries", block).bits(BLOCK * grid.words).view(len(best), BLOCK, -1)
            if place == 0 or going_on is not None:
                draws = moves.draws(words, [self._side(block * BLOCK + i, grid) for i in range(BLOCK)])
            points = moves.propose(best, draws[place])
            found, going_on = objective.margin(points)
            better = torch.nonzero(found < margin)[:, 0]
            if len(better):
                best.index_copy_(0, better, points[better])
                margin = torch.fmin(margin, found)
        return best if going_on is None else best[going_on]

    def _side(self, query: int, grid: Grid) -> int:
        """Return the side of a query's square: the root of the share p of the image, at least 1."""
        halvings = sum(query * 10_000 // self.schedule > after for after in HALVINGS)
        return max(1, round(math.sqrt(self.share / 2**halvings * grid.height * grid.width)))
