"""What a search has found and spent so far, an entry an example of one chunk."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from epsball.attacks.ledger import Ledger
from epsball.ball import Ball

AT_POINT = "the logits are not finite at a point of its ball"
AT_EXAMPLE = "the logits are not finite at the example itself"


class Record:
    """Best points, verdicts and passes of the examples of one chunk.

    Attributes
    ----------
    x, y, index
        The chunk's examples and labels, and their positions in the call's x.
    best, margin
        The point of lowest margin found inside the ball, and that margin (float64).
    broken
        Whether `best` is a witness by the canonical pass.
    reasons
        Why an example was set aside, by position in the call's x.
    """

    def __init__(
        self, x: Tensor, y: Tensor, index: Tensor, natural: Float64[Tensor, " n"], total: int, classes: int
    ) -> None:
        self.x, self.y, self.index = x, y, index
        self.total, self.classes = total, classes
        self.natural = natural
        self.best, self.margin = x.clone(), natural.clone()
        self.broken = natural <= 0
        self.invalid = natural.isnan()
        self.reasons = dict.fromkeys(index[self.invalid].tolist(), AT_EXAMPLE)
        self.spent = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self.judged = torch.zeros_like(self.spent)
        self._finished: list[tuple[int, list[Tensor]]] = []
        self._open(0)

    def _open(self, restart: int) -> None:
        self._restart = restart
        self._forwards, self._backwards = torch.zeros_like(self.spent), torch.zeros_like(self.spent)
        self._vanished = torch.zeros_like(self.spent)
        self._lowest = torch.full_like(self.margin, torch.inf)

    def left(self, *, including_broken: bool) -> Bool[Tensor, " n"]:
        """Return which entries a search need not work on any more."""
        return self.invalid | self.broken if including_broken else self.invalid

    def most_spent(self, entries: Int64[Tensor, " m"]) -> int:
        """Return the most passes that one of the entries has cost."""
        return int(self.spent[entries].max())

    def count(self, owners: Int64[Tensor, " m"], backwards: int, vanished: Sequence[Bool[Tensor, " m"]]) -> None:
        """Count one forward and `backwards` backwards for the owner of each row, and its zero gradients."""
        ones = torch.ones_like(owners)
        self._forwards.index_add_(0, owners, ones)
        self._backwards.index_add_(0, owners, ones, alpha=backwards)
        self.spent.index_add_(0, owners, ones, alpha=1 + backwards)
        for zero in vanished:
            self._vanished.index_add_(0, owners, zero.long())

    def update(
        self,
        owners: Int64[Tensor, " m"],
        points: Float[Tensor, "m *shape"],
        margin: Float64[Tensor, " m"],
        inside: Bool[Tensor, " m"],
    ) -> None:
        """Keep each example's point of lowest margin among the rows inside its ball."""
        candidate = torch.where(inside & ~margin.isnan(), margin, torch.inf)
        self._lowest.scatter_reduce_(0, owners, candidate, "amin")
        improving = torch.nonzero(candidate < self.margin[owners])[:, 0]
        if len(improving):
            self._keep(owners[improving], points[improving], candidate[improving])

    def _keep(self, owners: Tensor, points: Tensor, margin: Tensor) -> None:
        """Store the lowest row of each owner; where several tie, the first."""
        self.margin.scatter_reduce_(0, owners, margin, "amin")
        rows = torch.nonzero(margin == self.margin[owners])[:, 0]
        first = torch.full_like(self.spent, len(owners)).scatter_reduce_(0, owners[rows], rows, "amin")[owners]
        chosen = first[first == torch.arange(len(owners), device=owners.device)]
        self.best[owners[chosen]] = points[chosen]

    def confirm(
        self,
        owners: Int64[Tensor, " m"],
        points: Float[Tensor, "m *shape"],
        canonical: Float64[Tensor, " m"],
        cost: int,
    ) -> None:
        """Take the canonical margins of points inside the ball: broken where <= 0, set aside where NaN."""
        self.judged.index_add_(0, owners, torch.full_like(owners, cost))
        bad = owners[canonical.isnan()]
        self.invalid[bad] = True
        self.reasons.update(dict.fromkeys(self.index[bad].tolist(), AT_POINT))
        hit = torch.nonzero(canonical <= 0)[:, 0]
        if len(hit):
            self.broken[owners[hit]] = True
            self.margin[owners[hit]] = torch.inf
            self._keep(owners[hit], points[hit], canonical[hit])

    def begin(self, restart: int) -> None:
        """Begin the ledger's rows of another restart."""
        self._close()
        self._open(restart)

    def _close(self) -> None:
        rows = torch.nonzero(self._forwards)[:, 0]
        counts = [self._lowest, self._forwards, self._backwards, self._vanished]
        self._finished.append((self._restart, [count[rows] for count in (self.index, *counts)]))

    def ledger(self, name: str) -> Ledger:
        """Return the ledger's rows of all restarts, under the attack's name."""
        self._close()
        self._open(0)
        rows = [Ledger.rows(index, name, restart, *counts) for restart, (index, *counts) in self._finished]
        return Ledger.concatenate(rows)

    def unsettled(self, ball: Ball) -> Int64[Tensor, " m"]:
        """Return the entries whose best point moved and has no canonical verdict yet."""
        moved = (self.best != self.x).flatten(1).any(1) & ball.contains(self.best, self.x)
        return torch.nonzero(moved & ~self.broken & ~self.invalid)[:, 0]

    def settle(self, entries: Int64[Tensor, " m"], canonical: Float64[Tensor, " m"], cost: int) -> None:
        """Take the canonical margins of the best points; where x itself is no better, x comes back."""
        self.judged.index_add_(0, entries, torch.full_like(entries, cost))
        worse = ~(canonical < self.natural[entries])
        bad = entries[canonical.isnan()]
        self.invalid[bad] = True
        self.reasons.update(dict.fromkeys(self.index[bad].tolist(), AT_POINT))
        self.margin[entries] = torch.where(worse, self.natural[entries], canonical)
        self.best[entries[worse]] = self.x[entries[worse]]
        self.broken[entries] = self.margin[entries] <= 0
