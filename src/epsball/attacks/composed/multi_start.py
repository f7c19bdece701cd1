"""Shots: short ascents from structured starts and from hops, as many as the margin left deserves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.auto_pgd.start import climb_from
from epsball.attacks.black_box.square import moves_in
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.objective import Walkers
from epsball.attacks.parts.starts import block_corners
from epsball.ball import Ball, Neighbourhood
from epsball.checks import check_counts, check_positive
from epsball.randomness import Keys

WIDTHS = (2, 2, 4, 4, 8)
"""Shots an example fires side by side in each round; the last width repeats."""

HOP = 0.3
"""Side of a hop's squares, as a share of the image's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shots:
    """Short Auto-PGD ascents of the margin, half of them from corners of blocks, half from hops.

    A hop sets two random squares of the best point found so far to ends of the ball. With rho the margin
    left, as a share of the example's own, an example fires another round while shots * rho < patience: the
    nearer to the boundary, the more. A shot of K steps costs 2 K + 1 passes.

    Parameters
    ----------
    steps
        Steps of a shot.
    patience
        Shots at rho = 1.
    most
        Shots of an example at most.
    """

    steps: int = 20
    patience: float = 3.0
    most: int = 70
    tolerance: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        check_counts(self, "steps", "most")
        check_positive("patience", self.patience)

    @property
    def name(self) -> str:
        """The name under which the ledger counts it."""
        return "shots"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Fire rounds of shots at the standing examples until none deserves more."""
        for number, (fired, width) in enumerate(self._rounds()):
            query.begin(number)
            going_on = self._deserving(query, fired)
            if len(going_on) == 0:
                return
            owners = going_on.repeat(width)
            walkers = Walkers(query, lambda logits, y, targets: losses.margin(logits, y), owners)
            own = keys[query.index[going_on]].derive(number)
            climb_from(self._starts(query, going_on, own, fired, width), walkers, self.steps)

    def _rounds(self) -> Iterator[tuple[int, int]]:
        """Yield how many shots were fired before each round, and how many it fires."""
        fired, number = 0, 0
        while fired < self.most:
            width = min(WIDTHS[min(number, len(WIDTHS) - 1)], self.most - fired)
            yield fired, width
            fired, number = fired + width, number + 1

    def _deserving(self, query: Query, fired: int) -> Int64[Tensor, " k"]:
        """Return the standing examples with fired * rho < patience that are not broken."""
        left = query.best()[1]
        return torch.nonzero((left > 0) & (fired * left < self.patience * query.natural))[:, 0]

    def _starts(self, query: Query, owners: Tensor, keys: Keys, fired: int, width: int) -> Float[Tensor, "m *shape"]:
        """Return the starts of a round, shot by shot: corners of blocks and hops in turn."""
        neighbourhood, best = query.neighbourhood.take(owners), query.best()[0][owners]
        return torch.cat(
            [
                block_corners(neighbourhood, keys.derive(shot), (fired + shot) // 2)
                if shot % 2 == 0
                else hop(best, neighbourhood, keys.derive(shot))
                for shot in range(width)
            ]
        )


def hop(best: Float[Tensor, "n *shape"], neighbourhood: Neighbourhood, keys: Keys) -> Float[Tensor, "n *shape"]:
    """Return points with two random squares at ends of the ball (in l2 and l1: with mass moved twice)."""
    moves = moves_in(neighbourhood)
    side = max(1, round(HOP * (moves.grid.height * moves.grid.width) ** 0.5))
    for word in range(2):
        (draw,) = moves.draws(keys.derive("hop", word).bits(moves.grid.words)[:, None], [side])
        best = moves.propose(best, draw)
    return best
