"""The ledger: which attack spent how many passes on which example, and how near it came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from epsball import results

if TYPE_CHECKING:
    import pyarrow

NO_EXAMPLE = -1
"""The index of rows that belong to no example: guards and padding."""

OVERHEAD = ("natural", "verification", "guards", "padding", "diagnosis")
"""The names of rows whose passes are not an attack's."""

NUMBERS = ("index", "restart", "margin", "forwards", "backwards", "zero_gradients", "bad_gradients")
"""The columns that are tensors: all but the name of the attack."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ledger(results.Result):
    """A long table: one row per example, attack and restart.

    Parameters
    ----------
    index
        Position of the example in the call's x; -1 for passes that belong to none.
    attack
        Name of the attack, or ``natural``, ``verification``, ``guards``, ``padding``; in an audit ``diagnosis``.
    restart
        Number of the restart, from 0.
    margin
        Lowest margin this attack saw inside the ball in this restart (infinite if none).
    forwards, backwards
        Passes spent.
    zero_gradients, bad_gradients
        How many of the input gradients were exactly zero, and how many had entries that are
        NaN or infinite: both are signs of masking.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> result = eb.attack(eb.Classifier(torch.nn.Identity()), x, y, eb.Ball("linf", 0.1), method="pgd,steps=3")
    >>> result.ledger.summary()["pgd-3"]
    (1, 4, 3)
    """

    index: Int64[Tensor, " rows"]
    attack: Sequence[str]
    restart: Int64[Tensor, " rows"]
    margin: Float64[Tensor, " rows"]
    forwards: Int64[Tensor, " rows"]
    backwards: Int64[Tensor, " rows"]
    zero_gradients: Int64[Tensor, " rows"]
    bad_gradients: Int64[Tensor, " rows"]

    @classmethod
    def rows(
        cls,
        index: Tensor,
        attack: str,
        restart: int,
        margin: Tensor,
        forwards: Tensor,
        backwards: Tensor,
        zero_gradients: Tensor,
        bad_gradients: Tensor,
    ) -> "Ledger":
        """Return the rows of one attack and restart, on the CPU."""
        return cls(
            index=index.cpu(),
            attack=[attack] * len(index),
            restart=torch.full((len(index),), restart, dtype=torch.int64),
            margin=margin.double().cpu(),
            forwards=forwards.cpu(),
            backwards=backwards.cpu(),
            zero_gradients=zero_gradients.cpu(),
            bad_gradients=bad_gradients.cpu(),
        )

    @classmethod
    def judged(cls, index: Tensor, name: str, margin: Tensor, forwards: Tensor) -> "Ledger":
        """Return rows of passes that give verdicts: natural and verification."""
        none = torch.zeros_like(forwards)
        return cls.rows(index, name, 0, margin, forwards, none, none, none)

    @classmethod
    def empty(cls) -> "Ledger":
        """Return a ledger without rows."""
        none = torch.zeros(0, dtype=torch.int64)
        return cls.judged(none, "none", none, none)

    @classmethod
    def overhead(cls, name: str, forwards: int, backwards: int = 0) -> "Ledger":
        """Return one row of passes that belong to no example."""
        return cls.rows(
            torch.tensor([NO_EXAMPLE]),
            name,
            0,
            torch.tensor([torch.nan]),
            torch.tensor([forwards]),
            torch.tensor([backwards]),
            torch.tensor([0]),
            torch.tensor([0]),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Ledger"]) -> "Ledger":
        """Return all rows of several ledgers, in order."""
        columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in NUMBERS}
        return cls(attack=[name for part in parts for name in part.attack], **columns)

    def only(self, rows: Bool[Tensor, " rows"]) -> "Ledger":
        """Return some of the rows."""
        attack = [name for name, kept in zip(self.attack, rows.tolist(), strict=True) if kept]
        return Ledger(attack=attack, **{name: getattr(self, name)[rows] for name in NUMBERS})

    def __len__(self) -> int:
        return len(self.index)

    @property
    def passes(self) -> tuple[int, int]:
        """All forwards and all backwards."""
        return int(self.forwards.sum()), int(self.backwards.sum())

    def of(self, attack: str) -> Bool[Tensor, " rows"]:
        """Return which rows are those of an attack."""
        return torch.tensor([name == attack for name in self.attack], dtype=torch.bool)

    def searching(self) -> Bool[Tensor, " rows"]:
        """Return which rows are an attack's own: not natural, verification, guards or padding."""
        return torch.tensor([name not in OVERHEAD for name in self.attack], dtype=torch.bool)

    def summary(self) -> dict[str, tuple[int, int, int]]:
        """Return for each attack: examples it worked on, forwards, backwards."""
        out = {}
        for name in dict.fromkeys(self.attack):
            rows = self.of(name)
            examples = self.index[rows]
            counted = len(examples[examples != NO_EXAMPLE].unique())
            out[name] = (counted, int(self.forwards[rows].sum()), int(self.backwards[rows].sum()))
        return out

    def __str__(self) -> str:
        rows = [(name, *counts) for name, counts in self.summary().items()]
        return results.text_table(("attack", "examples", "forwards", "backwards"), rows)

    def columns(self) -> dict[str, object]:
        """Return the columns by name."""
        return {
            "index": self.index,
            "attack": list(self.attack),
            "restart": self.restart,
            "margin": self.margin,
            "forwards": self.forwards,
            "backwards": self.backwards,
            "zero_gradients": self.zero_gradients,
            "bad_gradients": self.bad_gradients,
        }

    def to_arrow(self) -> "pyarrow.Table":
        """Return the ledger as an Arrow table."""
        return results.arrow_table(self.columns())

    def to_json(self) -> dict[str, object]:
        """Return the ledger as columns of JSON's types."""
        return results.jsonable(self.columns())
