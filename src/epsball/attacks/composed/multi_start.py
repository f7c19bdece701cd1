"""Multi-start: short Auto-PGD runs from structured starts, more of them where the remaining margin is small."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.auto_pgd.ascent import auto_pgd_from
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.objective import RowObjective, untargeted
from epsball.attacks.parts.square_moves import moves_in
from epsball.attacks.parts.starts import block_corners
from epsball.ball import Ball, Neighbourhood
from epsball.checks import check_counts, check_positive
from epsball.randomness import Keys

BATCHES = (2, 2, 4, 4, 8)
"""Runs per example side by side in each round; the last number repeats."""

SIDE = 0.3
"""Side of a square jump's squares, as a share of the image's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiStart(Attack):
    """Short Auto-PGD runs on the margin: half start at corners constant on blocks, half at square jumps.

    A square jump sets two random squares of the best point found so far to ends of the ball. With rho the
    remaining margin, as a share of the example's own, an example gets another round while
    runs * rho < patience: the nearer to the boundary, the more. A run of K steps costs 2 K + 1 passes.
    In ledgers and results its name is ``shots``.

    Parameters
    ----------
    steps
        Steps per run.
    patience
        Runs at rho = 1.
    most
        Most runs per example.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.MultiStart(steps=5, most=4)).broken
    tensor([True])
    """

    name: ClassVar[str] = "shots"
    tolerance: ClassVar[float | None] = 0.01

    steps: int = 20
    patience: float = 3.0
    most: int = 70

    def __post_init__(self) -> None:
        check_counts(self, "steps", "most")
        check_positive("patience", self.patience)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run rounds on the active examples until none deserves more."""
        objective = untargeted(losses.margin)
        for number, (done, batch) in enumerate(self._rounds()):
            query.begin(number)
            chosen = self._deserving(query, done)
            if len(chosen) == 0:
                return
            own = keys[query.index[chosen]].derive(number)
            starts = self._starts(query, chosen, own, done, batch)
            auto_pgd_from(starts, RowObjective(query, objective, chosen.repeat(batch)), self.steps)

    @property
    def fewest_runs(self) -> int:
        """Runs at rho = 1, of an example whose margin nothing lowers."""
        return next((done for done, _ in self._rounds() if done >= self.patience), self.most)

    def _rounds(self) -> Iterator[tuple[int, int]]:
        """Yield the number of runs before each round, and of those in it."""
        done, number = 0, 0
        while done < self.most:
            batch = min(BATCHES[min(number, len(BATCHES) - 1)], self.most - done)
            yield done, batch
            done, number = done + batch, number + 1

    def _deserving(self, query: Query, done: int) -> Int64[Tensor, " k"]:
        """Return the active examples with done * rho < patience that are not broken."""
        margin = query.best()[1]
        return torch.nonzero((margin > 0) & (done * margin < self.patience * query.natural))[:, 0]

    def _starts(self, query: Query, owners: Tensor, keys: Keys, done: int, batch: int) -> Float[Tensor, "m *shape"]:
        """Return the starts of a round, run by run: corners of blocks and square jumps in turn."""
        neighbourhood, best = query.neighbourhood.take(owners), query.best()[0][owners]
        return torch.cat(
            [
                block_corners(neighbourhood, keys.derive(run), (done + run) // 2)
                if run % 2 == 0
                else square_jump(best, neighbourhood, keys.derive(run))
                for run in range(batch)
            ]
        )


def square_jump(best: Float[Tensor, "n *shape"], neighbourhood: Neighbourhood, keys: Keys) -> Float[Tensor, "n *shape"]:
    """Return points with two random squares at ends of the ball (in l2 and l1: with mass moved twice)."""
    moves = moves_in(neighbourhood)
    side = max(1, round(SIDE * (moves.grid.height * moves.grid.width) ** 0.5))
    for word in range(2):
        (draw,) = moves.draws(keys.derive("hop", word).bits(moves.grid.words)[:, None], [side])
        best = moves.propose(best, draw)
    return best
