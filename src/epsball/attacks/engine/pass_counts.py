"""What a search has spent on each example of a chunk, restart by restart."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.ledger import Ledger


class PassCounter:
    """Counts passes and the lowest margin seen, for the ledger and for budgets.

    Attributes
    ----------
    attack
        The attack whose passes are being counted.
    lowest
        The lowest margin seen inside the ball in this restart (float64), infinite at first.
    bad
        Input gradients of this restart with NaN or infinite entries.
    """

    def __init__(self, index: Int64[Tensor, " n"], attack: str) -> None:
        self.index, self.attack = index, attack
        self._before = torch.zeros_like(index)
        self._finished: list[tuple[str, int, list[Tensor]]] = []
        self._open(0)

    @property
    def spent(self) -> Int64[Tensor, " n"]:
        """Forwards and backwards of the method so far."""
        self._enter()
        return self._before + self._forwards + self._backwards

    def over_budget(self, budget: int, owners: Int64[Tensor, " m"], cost: int) -> Bool[Tensor, " n"]:
        """Return the entries that a call of `cost` passes for each of their rows takes over `budget`."""
        due = cost * torch.bincount(owners, minlength=len(self.index))
        return (due > 0) & (self.spent + due > budget)

    def _open(self, restart: int) -> None:
        self._restart = restart
        self.lowest = torch.full(self.index.shape, torch.inf, dtype=torch.float64, device=self.index.device)
        self._forwards, self._backwards = torch.zeros_like(self.index), torch.zeros_like(self.index)
        self._owners, self._each = self.index[:0], (0, 0)
        self._zero, self.bad = torch.zeros_like(self.index), torch.zeros_like(self.index)

    def _close(self) -> None:
        self._enter()
        rows = torch.nonzero(self._forwards)[:, 0]
        columns = [self.index, self.lowest, self._forwards, self._backwards, self._zero, self.bad]
        self._finished.append((self.attack, self._restart, [column[rows] for column in columns]))

    def begin(self, restart: int, attack: str | None = None) -> None:
        """Begin the rows of another restart or attack; the rows of the same restart go on."""
        if (attack or self.attack, restart) == (self.attack, self._restart):
            return
        self._close()
        self._before = self.spent
        self.attack = attack or self.attack
        self._open(restart)

    def passes(self, owners: Int64[Tensor, " m"], forwards: int, backwards: int) -> None:
        """Count forwards and backwards for the owner of each row.

        Successive calls with the same tensor of owners, as most are, are entered together.
        """
        if owners is not self._owners:
            self._enter()
            self._owners = owners
        self._each = (self._each[0] + forwards, self._each[1] + backwards)

    def _enter(self) -> None:
        """Enter the passes of the latest calls."""
        ones = torch.ones_like(self._owners)
        forwards = self._forwards.index_add(0, self._owners, ones, alpha=self._each[0])
        backwards = self._backwards.index_add(0, self._owners, ones, alpha=self._each[1])
        # One statement, so that an interruption never enters them twice.
        self._forwards, self._backwards, self._each = forwards, backwards, (0, 0)

    def margins(self, owners: Int64[Tensor, " m"], margin: Float64[Tensor, " m"]) -> None:
        """Note margins seen inside the ball."""
        self.lowest.scatter_reduce_(0, owners, margin.masked_fill(margin.isnan(), torch.inf), "amin")

    def shared(self, owners: Int64[Tensor, " m"], forwards: int, backwards: int) -> None:
        """Divide the passes of a whole batch evenly; the remainder goes to the first."""
        for counts, total in ((self._forwards, forwards), (self._backwards, backwards)):
            share = torch.full_like(owners, total // len(owners))
            share[: total % len(owners)] += 1
            counts.index_add_(0, owners, share)

    def gradients(self, owners: Int64[Tensor, " m"], zero: Bool[Tensor, " m"], bad: Bool[Tensor, " m"]) -> None:
        """Count gradients that were exactly zero, and those with NaN or infinite entries."""
        self._zero.index_add_(0, owners, zero.long())
        self.bad.index_add_(0, owners, bad.long())

    def ledger(self) -> Ledger:
        """Return the rows of all attacks and restarts."""
        self._close()
        rows: Sequence[Ledger] = [
            Ledger.rows(index, attack, restart, *columns) for attack, restart, (index, *columns) in self._finished
        ]
        return Ledger.concatenate(rows)
