"""What a link of the chain is: it maps a shard and the evidence so far to new columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball.attacks import Ledger
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.statistics import Bound

Columns = dict[str, Any]
"""Evidence columns by name, each of one entry an example: tensors or lists."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """A run of examples that is audited and written as one piece.

    Parameters
    ----------
    classifier, ball, seed
        The model, the perturbation set and the seed of the whole audit.
    x, y
        Pixels in the box, and labels.
    positions
        Positions in the source of the data.
    """

    classifier: Classifier
    ball: Ball
    seed: int
    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    positions: Int64[Tensor, " n"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What a link found on one shard.

    Parameters
    ----------
    columns
        New evidence columns, an entry an example.
    invalid
        Why an example is invalid, by its row in the shard.
    ledger
        Passes spent, indexed by row in the shard.
    witnesses
        Points of the examples marked in ``attack.broken``, in order.
    """

    columns: Columns
    invalid: Mapping[int, str] = field(default_factory=dict)
    ledger: Ledger | None = None
    witnesses: Float[Tensor, "m *shape"] | None = None


@runtime_checkable
class Link(Protocol):
    """One link: a frozen dataclass of options; its columns are prefixed by its name."""

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        ...

    def describe(self) -> dict[str, object]:
        """Return the options as JSON's types, for the run's record."""
        ...

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Return what it finds on a shard, given the columns of the links before it."""
        ...

    def places(self, evidence: Mapping[str, Bool[Tensor, " n"]]) -> dict[str, Bound]:
        """Return the places of the chain it measures, from the whole evidence's verdict columns."""
        ...
