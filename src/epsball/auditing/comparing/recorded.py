"""A run as its folder records it: what was audited, and the columns of each example."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from epsball.auditing.chain import ATTACK, CERTIFIED
from epsball.auditing.evidence import flags
from epsball.auditing.folder import read_arrow
from epsball.auditing.manifest import check_schema, runs_of
from epsball.errors import InputError

if TYPE_CHECKING:
    import pyarrow

_CERTIFIED = "certificate.certified"

Column = Bool[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedRun:
    """A finished audit, read from its folder.

    Parameters
    ----------
    name
        What it is called in tables.
    path
        Its folder.
    identity
        What was audited, and how: `run.json`'s record.
    table
        The evidence of all shards.
    """

    name: str
    path: Path
    identity: dict[str, Any]
    table: "pyarrow.Table"

    @classmethod
    def read(cls, path: str | Path, name: str | None = None) -> "RecordedRun":
        """Read a run folder.

        Raises
        ------
        InputError
            If it holds no run, one of a later schema or not finished, or a file that cannot be read.
        """
        folder = Path(path)
        if runs_of(folder) is not None:
            one = next(iter(runs_of(folder) or ()), "...")
            raise InputError(
                f"{folder} holds runs within several balls, another does not; compare one of them ({folder / one}), or "
                "folders of runs with each other (in Python compare_by_ball)."
            )
        try:
            record = dict(json.loads((folder / "run.json").read_text()))
            identity = dict(record["identity"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder} does not hold a run ({error}); make one with epsball audit --out.") from error
        check_schema(folder, record)
        if not (folder / "chain.json").exists():
            raise InputError(f"the audit in {folder} is not finished: the command that made it goes on from there.")
        return cls(name=name or folder.name, path=folder, identity=identity, table=_evidence(folder))

    @cached_property
    def _verdict(self) -> np.ndarray:
        return np.asarray(self.table["verdict"].to_pylist())

    def measured_by(self, place: str) -> object:
        """Return what decided a place of the chain: the records of its links."""
        links = self.identity.get("links", {})
        if place == ATTACK:
            return links.get("attack"), (self.path / "diagnosis.json").exists()
        return links.get("certificate") if place == CERTIFIED else None

    @property
    def natural(self) -> Column:
        """Which examples are right; one without a verdict counts, as in the chain's upper ends."""
        return self._verdict != "misclassified"

    @property
    def under_attack(self) -> Column:
        """Which are right and have no known witness: the upper end of what is robust."""
        return self.natural & (self._verdict != "broken")

    @property
    def certified(self) -> Column | None:
        """Which are right and certified, the lower end of what is robust; None without certificates."""
        return flags(self.table)[_CERTIFIED].numpy() if _CERTIFIED in self.table.column_names else None


def _evidence(folder: Path) -> "pyarrow.Table":
    import pyarrow

    files = sorted(folder.glob("evidence-*.arrow"))
    if not files:
        raise InputError(f"{folder} holds no evidence; make a run with epsball audit --out.")
    try:
        return pyarrow.concat_tables([read_arrow(file) for file in files])
    except (OSError, ValueError) as error:
        raise InputError(f"the evidence in {folder} cannot be read ({error}); run the audit again.") from error
