"""The evidence: one table with one row per example, gathered from the links shard by shard."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball import results
from epsball.attacks import Ledger
from epsball.auditing.link import Columns, Link
from epsball.auditing.points import NearestPoints
from epsball.auditing.subject import Shard
from epsball.errors import EpsballError, SoundnessError
from epsball.statistics import Bound, clopper_pearson

if TYPE_CHECKING:
    import pyarrow

VERDICTS = ("misclassified", "broken", "certified", "undecided", "invalid")


_NOTES = b"notes"
"""Key of a shard's notes in the metadata of its table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Witnesses:
    """Position, example and witness of broken examples (those misclassified at x are not among them)."""

    index: Int64[Tensor, " m"]
    x: Float[Tensor, "m *shape"]
    x_adv: Float[Tensor, "m *shape"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardEvidence:
    """What all links found on one shard.

    Parameters
    ----------
    table
        The evidence, one row per example.
    ledger
        Passes spent; its index is the position in the source.
    witnesses
        Returns the witnesses; with a run folder they are read on demand.
    points
        Returns the nearest points of the examples that stand, likewise; None where there are none.
    """

    table: "pyarrow.Table"
    ledger: "pyarrow.Table"
    witnesses: Callable[[], Witnesses]
    points: Callable[[], NearestPoints | None] = lambda: None


def gather(links: Sequence[Link], shard: Shard, guards: Ledger) -> ShardEvidence:
    """Run the links over a shard, in order, each seeing the columns of those before it."""
    columns: Columns = {}
    schema: dict[str, str] = {}
    invalid: dict[int, str] = {}
    notes: dict[str, None] = {}
    ledgers = [guards]
    x_adv: dict[int, Tensor] = {}
    nearest: dict[int, Tensor] = {}
    for link in links:
        found = link.on_shard(shard, columns)
        own = link.schema_of(shard.subject)
        if set(found.columns) != set(own):
            raise EpsballError(f"the link '{link.name}' gave columns {list(found.columns)}, not those of its schema.")
        columns.update(found.columns)
        schema.update(own)
        invalid = {**found.invalid, **invalid}
        ledgers.extend([found.ledger] if found.ledger is not None else [])
        x_adv.update(found.x_adv)
        nearest.update(found.nearest)
        notes |= dict.fromkeys(found.notes)
    rows = torch.tensor(sorted(x_adv), dtype=torch.int64)
    stacked = torch.stack([x_adv[row].cpu() for row in rows.tolist()]) if len(rows) else shard.x[:0]
    witnesses = Witnesses(index=shard.positions[rows], x=shard.x[rows], x_adv=stacked)
    points = _nearest(shard, nearest)
    return ShardEvidence(
        table=_with_notes(_table(shard, columns, schema, invalid), list(notes)),
        ledger=_ledger_table(shard, ledgers),
        witnesses=lambda: witnesses,
        points=lambda: points,
    )


def _nearest(shard: Shard, found: Mapping[int, Tensor]) -> NearestPoints | None:
    """Return the nearest points of examples that stand, by their row in the shard."""
    if not found:
        return None
    rows = torch.tensor(sorted(found), dtype=torch.int64)
    x_adv = torch.stack([found[row].cpu() for row in rows.tolist()])
    return NearestPoints.of(shard.positions[rows], shard.x[rows].to(x_adv), x_adv)


def _table(shard: Shard, columns: Columns, schema: Mapping[str, str], invalid: Mapping[int, str]) -> "pyarrow.Table":
    import pyarrow

    n = len(shard.y)
    base = {
        "index": shard.positions,
        "label": shard.y,
        "prediction": columns["natural.prediction"],
        "verdict": _verdicts(columns, invalid, n),
        "invalid.reason": [invalid.get(row) for row in range(n)],
    }
    own = {name: values for name, values in columns.items() if name != "natural.prediction"}
    table = results.arrow_table({**base, **own})
    types = {"index": "int64", "label": "int64", "prediction": "int64", "verdict": "string", "invalid.reason": "string"}
    types |= schema
    return table.cast(pyarrow.schema([(name, pyarrow.type_for_alias(types[name])) for name in table.column_names]))


def _with_notes(table: "pyarrow.Table", notes: Sequence[str]) -> "pyarrow.Table":
    """Return the evidence with notes in its schema's metadata; without any, as it is."""
    return table.replace_schema_metadata({_NOTES: json.dumps(notes)}) if notes else table


def notes_of(table: "pyarrow.Table") -> list[str]:
    """Return what the links noted on a shard."""
    return json.loads((table.schema.metadata or {}).get(_NOTES, b"[]"))


def _ledger_table(shard: Shard, ledgers: Sequence[Ledger]) -> "pyarrow.Table":
    ledger = Ledger.concatenate(ledgers)
    columns = ledger.columns()
    columns["index"] = torch.where(ledger.index < 0, ledger.index, shard.positions[ledger.index.clamp(min=0)])
    return results.arrow_table(columns)


def _verdicts(columns: Columns, invalid: Mapping[int, str], n: int) -> list[str]:
    """Return the verdict of each example; raise SoundnessError if one is broken and certified."""
    none = torch.zeros(n, dtype=torch.bool)
    correct = columns["natural.correct"]
    broken, certified = columns.get("attack.broken", none), columns.get("certificate.certified", none)
    both = torch.nonzero(broken & certified)[:, 0]
    # A float32 witness and a certificate of the real-valued network can both be right; the alarm has seen to it.
    if len(both) and "real" not in columns.get("certificate.semantics", ()):
        raise SoundnessError(
            f"{len(both)} examples are both broken and certified, first at row {int(both[0])} of the shard: "
            "a bug in epsball. Please report it with the run folder."
        )
    choice = torch.full((n,), VERDICTS.index("undecided"))
    choice[list(invalid)] = VERDICTS.index("invalid")
    choice[certified] = VERDICTS.index("certified")
    choice[broken] = VERDICTS.index("broken")
    choice[~correct & ~columns["natural.failed"]] = VERDICTS.index("misclassified")
    return [VERDICTS[i] for i in choice.tolist()]


def with_columns(table: "pyarrow.Table", columns: Columns, schema: Mapping[str, str]) -> "pyarrow.Table":
    """Return the evidence with further columns, of the types that a schema names."""
    import pyarrow

    for name, values in columns.items():
        whole = isinstance(values, pyarrow.ChunkedArray)
        column = values if whole else pyarrow.array(values, pyarrow.type_for_alias(schema[name]))
        table = table.append_column(name, column)
    return table


def with_witnesses(shard: ShardEvidence, found: Witnesses) -> ShardEvidence:
    """Return a shard in which those of its examples that have one of these witnesses are broken by it."""
    import pyarrow

    place = {index: row for row, index in enumerate(shard.table["index"].to_pylist())}
    here = torch.tensor([index in place for index in found.index.tolist()], dtype=torch.bool)
    if not bool(here.any()):
        return shard
    verdicts = shard.table["verdict"].to_pylist()
    for index in found.index[here].tolist():
        verdicts[place[index]] = "broken"
    column = shard.table.column_names.index("verdict")
    known = shard.witnesses()
    others = ~torch.isin(known.index, found.index)
    index = torch.cat([known.index[others], found.index[here]])
    order = torch.tensor([place[i] for i in index.tolist()]).argsort()
    x, x_adv = (
        torch.cat([getattr(known, name)[others], getattr(found, name)[here].to(known.x_adv.dtype)])[order]
        for name in ("x", "x_adv")
    )
    witnesses = Witnesses(index=index[order], x=x, x_adv=x_adv)
    return ShardEvidence(
        table=shard.table.set_column(column, "verdict", pyarrow.array(verdicts, pyarrow.string())),
        ledger=shard.ledger,
        witnesses=lambda: witnesses,
        points=shard.points,
    )


def with_verdicts(table: "pyarrow.Table", shards: Sequence[ShardEvidence]) -> "pyarrow.Table":
    """Return the evidence with the verdicts that its shards have now."""
    import pyarrow

    verdicts = pyarrow.chunked_array([chunk for shard in shards for chunk in shard.table["verdict"].chunks])
    return table.set_column(table.column_names.index("verdict"), "verdict", verdicts)


def accuracy_under_attack(columns: Mapping[str, Bool[Tensor, " n"]]) -> Bound:
    """Return accuracy under all attacks, an upper end: examples without a verdict at x count as unbroken."""
    standing = (columns["natural.correct"] & ~broken_by_any(columns)) | columns["natural.failed"]
    count, n = int(standing.sum()), len(standing)
    return Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")


def broken_by_any(columns: Mapping[str, Bool[Tensor, " n"]]) -> Bool[Tensor, " n"]:
    """Return which examples the attack broke, or the diagnosis after it."""
    broken = columns["attack.broken"]
    return broken | columns["diagnosis.broken"] if "diagnosis.broken" in columns else broken


def flags(table: "pyarrow.Table") -> dict[str, Bool[Tensor, " n"]]:
    """Return the boolean columns of the evidence as tensors."""
    import pyarrow

    return {
        field.name: torch.from_numpy(np.asarray(table[field.name].to_numpy(), dtype=bool).copy())
        for field in table.schema
        if pyarrow.types.is_boolean(field.type)
    }
