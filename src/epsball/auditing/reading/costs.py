"""What a run cost, by attack and overhead: its ledger, added up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from epsball.attacks.engine.ledger import OVERHEAD
from epsball.auditing.reading.run import Reading

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one attack, or one kind of overhead, cost.

    Parameters
    ----------
    name
        Its name in the ledger.
    examples
        Examples it worked on.
    forwards, backwards
        Passes.
    broke
        Examples that fell to it; None for overhead.
    """

    name: str
    examples: int
    forwards: int
    backwards: int
    broke: int | None


def costs(reading: Reading) -> list[Cost]:
    """Return the rows of the ledger added up, the dearest attack first and overhead last."""
    found = [] if reading.ledger is None else list(_of_ledger(reading.ledger, reading))
    spent = (reading.diagnosis or {}).get("spent")
    if spent is not None:
        examined = int(reading.flag("diagnosis.examined").sum())
        broke = int(reading.flag("diagnosis.broken").sum())
        found.append(
            Cost(
                name="diagnosis",
                examples=examined,
                forwards=spent["forward"],
                backwards=spent["backward"],
                broke=broke,
            )
        )
    return sorted(found, key=lambda cost: (cost.name in OVERHEAD, -(cost.forwards + cost.backwards)))


def _of_ledger(ledger: "pyarrow.Table", reading: Reading) -> Iterator[Cost]:
    import pyarrow.compute as pc

    by = [str(name) for name in reading.column("attack.by") if name is not None]
    broke = dict(zip(*(found.tolist() for found in np.unique(by, return_counts=True)), strict=True)) if by else {}
    for row in ledger.group_by("attack").aggregate([("forwards", "sum"), ("backwards", "sum")]).to_pylist():
        index = ledger.filter(pc.field("attack") == row["attack"])["index"].to_numpy()
        yield Cost(
            name=row["attack"],
            examples=len(np.unique(index[index >= 0])),
            forwards=row["forwards_sum"],
            backwards=row["backwards_sum"],
            broke=None if row["attack"] in OVERHEAD else broke.get(row["attack"], 0),
        )
