"""What an audit says about gradients that its attack could not use: read from the ledger, after the last shard."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from epsball.attacks.engine.ledger import Ledger
from epsball.attacks.gradient_hints import SURROGATES, gradient_hints, useless_gradients
from epsball.auditing.evidence import ShardEvidence, broken_by_any, flags, notes_of
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
    standing = columns["natural.correct"] & ~broken_by_any(columns)
    return gradient_hints(_ledger(ledger), _positions(evidence)[standing], keyword="attack")


NOTES_SCHEMA: Mapping[str, str] = {"attack.notes": "string"}
"""Column of the evidence where the attack noted something: for the examples that got surrogate gradients, what of."""


def attack_notes(shards: Sequence[ShardEvidence]) -> list[str]:
    """Return what the attack noted about the model, each sentence once."""
    return list(dict.fromkeys(note for shard in shards for note in notes_of(shard.table)))


def notes_columns(shards: Sequence[ShardEvidence]) -> Columns:
    """Return the column of notes; nothing where no shard has any."""
    if not attack_notes(shards):
        return {}
    column: list[str | None] = []
    for shard in shards:
        said = "; ".join(notes_of(shard.table)) or None
        names, rows = shard.ledger["attack"].to_pylist(), shard.ledger["index"].to_pylist()
        tried = {row for name, row in zip(names, rows, strict=True) if name.startswith(SURROGATES)}
        column += [said if index in tried else None for index in shard.table["index"].to_pylist()]
    return {"attack.notes": column}


def _positions(evidence: "pyarrow.Table") -> torch.Tensor:
    return torch.tensor(evidence["index"].to_pylist(), dtype=torch.int64)


def _ledger(table: "pyarrow.Table") -> Ledger:
    """Return a ledger as it was written; a margin that is missing there is NaN."""
    columns = {name: torch.from_numpy(table[name].to_numpy().copy()) for name in table.column_names if name != "attack"}
    return Ledger(attack=table["attack"].to_pylist(), **columns)
