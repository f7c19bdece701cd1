"""The evidence: one table, a row an example, gathered from the links shard by shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball import results
from epsball.attacks import Ledger
from epsball.auditing.link import Columns, Link, Shard
from epsball.errors import SoundnessError

if TYPE_CHECKING:
    import pyarrow

VERDICTS = ("misclassified", "broken", "certified", "undecided", "invalid")


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardEvidence:
    """What all links found on one shard.

    Parameters
    ----------
    table
        The evidence, a row an example.
    ledger
        Passes spent; its index is the position in the source.
    index, x, x_adv
        Position, example and witness of each broken example.
    """

    table: "pyarrow.Table"
    ledger: "pyarrow.Table"
    index: Int64[Tensor, " m"]
    x: Float[Tensor, "m *shape"]
    x_adv: Float[Tensor, "m *shape"]


def gather(links: Sequence[Link], shard: Shard) -> ShardEvidence:
    """Run the links over a shard, in order, each seeing the columns of those before it."""
    columns: Columns = {}
    invalid: dict[int, str] = {}
    ledgers: list[Ledger] = []
    x_adv = shard.x[:0]
    for link in links:
        found = link(shard, columns)
        columns.update(found.columns)
        invalid.update(found.invalid)
        ledgers.extend([found.ledger] if found.ledger is not None else [])
        x_adv = found.witnesses if found.witnesses is not None else x_adv
    broken = columns.get("attack.broken", torch.zeros(len(shard.y), dtype=torch.bool))
    return ShardEvidence(
        table=_table(shard, columns, invalid),
        ledger=_ledger_table(shard, ledgers),
        index=shard.positions[broken],
        x=shard.x[broken],
        x_adv=x_adv,
    )


def _table(shard: Shard, columns: Columns, invalid: Mapping[int, str]) -> "pyarrow.Table":
    n = len(shard.y)
    base = {
        "index": shard.positions,
        "label": shard.y,
        "prediction": columns["natural.prediction"],
        "verdict": _verdicts(columns, invalid, n),
        "invalid.reason": [invalid.get(row) for row in range(n)],
    }
    return results.arrow_table({**base, **{k: v for k, v in columns.items() if k != "natural.prediction"}})


def _ledger_table(shard: Shard, ledgers: Sequence[Ledger]) -> "pyarrow.Table":
    ledger = Ledger.concatenate(ledgers)
    columns = ledger.columns()
    columns["index"] = torch.where(ledger.index < 0, ledger.index, shard.positions[ledger.index])
    return results.arrow_table(columns)


def _verdicts(columns: Columns, invalid: Mapping[int, str], n: int) -> list[str]:
    """Return the verdict of each example; raise SoundnessError if one is broken and certified."""
    none = torch.zeros(n, dtype=torch.bool)
    correct = columns["natural.correct"]
    broken, certified = columns.get("attack.broken", none), columns.get("certificate.certified", none)
    both = torch.nonzero(broken & certified)[:, 0]
    if len(both):
        raise SoundnessError(
            f"{len(both)} examples are both broken and certified, first at row {int(both[0])} of the shard: "
            "a bug in epsball. Please report it with the run folder."
        )
    choice = torch.full((n,), VERDICTS.index("undecided"))
    choice[certified] = VERDICTS.index("certified")
    choice[broken] = VERDICTS.index("broken")
    choice[~correct] = VERDICTS.index("misclassified")
    choice[list(invalid)] = VERDICTS.index("invalid")
    return [VERDICTS[i] for i in choice.tolist()]


def verdict_columns(table: "pyarrow.Table") -> dict[str, Bool[Tensor, " n"]]:
    """Return the boolean columns of the evidence as tensors, with ``invalid`` among them."""
    import pyarrow

    def tensor(values: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=bool).copy())

    flags = {
        field.name: tensor(table[field.name].to_numpy())
        for field in table.schema
        if pyarrow.types.is_boolean(field.type)
    }
    return {**flags, "invalid": tensor(np.asarray(table["verdict"].to_pylist()) == "invalid")}
