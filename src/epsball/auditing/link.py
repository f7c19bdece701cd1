"""What a link of the chain is: it maps a shard and the evidence so far to new columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
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
    classifier, ball, seed, classes
        The model, the perturbation set, the seed and the number of classes of the whole audit.
    x, y
        Pixels in the box, and labels.
    positions
        Positions in the source of the data.
    rows
        Positions in the audited data set: an attack's per-example fields are indexed by them.
    total
        Number of examples of the audited data set.
    folder
        The run's folder, if it has one.
    """

    classifier: Classifier
    ball: Ball
    seed: int
    classes: int
    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    positions: Int64[Tensor, " n"]
    rows: Int64[Tensor, " n"]
    total: int
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What a link found on one shard.

    Parameters
    ----------
    columns
        New evidence columns, an entry an example, those of the link's schema.
    invalid
        Why the model failed on an example, by its row in the shard.
    ledger
        Passes spent, indexed by row in the shard.
    x_adv
        Witnesses found, by their row in the shard.
    """

    columns: Columns
    invalid: Mapping[int, str] = field(default_factory=dict)
    ledger: Ledger | None = None
    x_adv: Mapping[int, Tensor] = field(default_factory=dict)


@runtime_checkable
class Link(Protocol):
    """One link: a frozen dataclass of options; its columns are prefixed by its name."""

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        ...

    @property
    def schema(self) -> dict[str, str]:
        """The Arrow type of each of its columns, by name: bool, int64, double or string."""
        ...

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Return what it finds on a shard, given the columns of the links before it."""
        ...

    def places(self, evidence: Mapping[str, Bool[Tensor, " n"]]) -> dict[str, Bound]:
        """Return the places of the chain it measures, from the boolean columns of the whole evidence."""
        ...
