"""What an audit says about gradients that its attack could not use: read from the ledger, after the last shard."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from epsball.attacks.engine.ledger import Ledger
from epsball.attacks.gradient_hints import gradient_hints, useless_gradients
from epsball.auditing.evidence import flags
from epsball.auditing.link import Columns

if TYPE_CHECKING:
    import pyarrow

GRADIENT_SCHEMA: Mapping[str, str] = {"attack.gradients": "string"}
"""Column of the evidence: ``zero`` or ``not finite`` where most gradients of one component of the attack were."""


def gradient_columns(evidence: "pyarrow.Table", ledger: "pyarrow.Table") -> Columns:
    """Return the column, one entry per example."""
    return {"attack.gradients": useless_gradients(_ledger(ledger), _positions(evidence))}


def gradient_notes(evidence: "pyarrow.Table", ledger: "pyarrow.Table") -> list[str]:
    """Return what the chain says about the examples that were attacked and stand."""
    columns = flags(evidence)
    standing = columns["natural.correct"] & ~columns["attack.broken"]
    return gradient_hints(_ledger(ledger), _positions(evidence)[standing], keyword="attack")


def _positions(evidence: "pyarrow.Table") -> torch.Tensor:
    return torch.tensor(evidence["index"].to_pylist(), dtype=torch.int64)


def _ledger(table: "pyarrow.Table") -> Ledger:
    """Return a ledger as it was written; a margin that is missing there is NaN."""
    columns = {name: torch.from_numpy(table[name].to_numpy().copy()) for name in table.column_names if name != "attack"}
    return Ledger(attack=table["attack"].to_pylist(), **columns)
