"""What an audit says about gradients that its attack could not use: read from the ledgers, shard by shard."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball.attacks.engine.ledger import Ledger
from epsball.attacks.gradient_hints import SURROGATES, GradientCounts, useless_gradients
from epsball.auditing.evidence import ShardEvidence, broken_by_any, flags, notes_of
from epsball.auditing.link import Columns

if TYPE_CHECKING:
    import pyarrow

GRADIENT_SCHEMA: Mapping[str, str] = {"attack.gradients": "string"}
"""Column of the evidence: ``zero`` or ``not finite`` where most gradients of one component of the attack were."""


def gradient_columns(shards: Sequence[ShardEvidence]) -> Columns:
    """Return the column, one entry per example."""
    import pyarrow

    found = (useless_gradients(_ledger(shard.ledger), _positions(shard.table)) for shard in shards)
    return {"attack.gradients": _column(pyarrow.array(part, pyarrow.string()) for part in found)}


def gradient_notes(evidence: "pyarrow.Table", shards: Sequence[ShardEvidence]) -> list[str]:
    """Return what the chain says about the examples that were attacked and stand.

    Parameters
    ----------
    evidence
        The rows of all shards, with what the links said about the whole run.
    shards
        Their ledgers; those of the whole run belong to no example.
    """
    counts, start = GradientCounts(), 0
    for shard in shards:
        rows = evidence.slice(start, len(shard.table))
        columns = flags(rows)
        standing = columns["natural.correct"] & ~broken_by_any(columns)
        counts.add(_ledger(shard.ledger), _positions(rows)[standing])
        start += len(rows)
    return counts.hints(keyword="attack")


NOTES_SCHEMA: Mapping[str, str] = {"attack.notes": "string"}
"""Column of the evidence where the attack noted something: for the examples that got surrogate gradients, what of."""


def attack_notes(shards: Sequence[ShardEvidence]) -> list[str]:
    """Return what the attack noted about the model, each sentence once."""
    return list(dict.fromkeys(note for shard in shards for note in notes_of(shard.table)))


def notes_columns(shards: Sequence[ShardEvidence]) -> Columns:
    """Return the column of notes; nothing where no shard has any."""
    if not attack_notes(shards):
        return {}
    return {"attack.notes": _column(_notes_column(shard) for shard in shards)}


def _notes_column(shard: ShardEvidence) -> "pyarrow.Array":
    import pyarrow

    said = "; ".join(notes_of(shard.table)) or None
    names, rows = shard.ledger["attack"].to_pylist(), shard.ledger["index"].to_pylist()
    tried = {row for name, row in zip(names, rows, strict=True) if name.startswith(SURROGATES)}
    return pyarrow.array(
        [said if index in tried else None for index in shard.table["index"].to_pylist()], pyarrow.string()
    )


def _column(parts: Iterator["pyarrow.Array"]) -> "pyarrow.ChunkedArray":
    """Return one column made of a part per shard: of the texts of a whole run only the bytes are in memory."""
    import pyarrow

    return pyarrow.chunked_array(parts, pyarrow.string())


def _positions(evidence: "pyarrow.Table") -> torch.Tensor:
    return torch.from_numpy(evidence["index"].to_numpy().astype(np.int64))


def _ledger(table: "pyarrow.Table") -> Ledger:
    """Return a ledger as it was written; a margin that is missing there is NaN."""
    columns = {name: torch.from_numpy(table[name].to_numpy().copy()) for name in table.column_names if name != "attack"}
    return Ledger(attack=table["attack"].to_pylist(), **columns)
