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
from epsball.errors import InputError

if TYPE_CHECKING:
    import pyarrow

_LINKS = {ATTACK: ("attack", "diagnosis"), CERTIFIED: ("certificate",)}
"""The links that decide a place of the chain."""

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
            If it holds no run, one that is not finished, or a file that cannot be read.
        """
        folder = Path(path)
        try:
            identity = dict(json.loads((folder / "run.json").read_text())["identity"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder} does not hold a run ({error}); make one with epsball audit --out.") from error
        if not (folder / "chain.json").exists():
            raise InputError(f"the audit in {folder} is not finished: the command that made it goes on from there.")
        return cls(name=name or folder.name, path=folder, identity=identity, table=_evidence(folder))

    @cached_property
    def _flags(self) -> dict[str, Column]:
        return {name: column.numpy() for name, column in flags(self.table).items()}

    def measured_by(self, place: str) -> object:
        """Return what decided a place of the chain: the record of its links; None where nothing could differ."""
        links = self.identity.get("links", {})
        return [links.get(name) for name in _LINKS.get(place, ())]

    @property
    def natural(self) -> Column:
        """Which examples are right; one without a verdict counts, as in the chain's upper ends."""
        return self._flags["natural.correct"] | self._flags["natural.failed"]

    @property
    def under_attack(self) -> Column:
        """Which are right and have no known witness: the upper end of what is robust."""
        return self.natural & ~self._flags["attack.broken"]

    @property
    def certified(self) -> Column | None:
        """Which are right and certified, the lower end of what is robust; None without certificates."""
        return self._flags.get("certificate.certified")


def _evidence(folder: Path) -> "pyarrow.Table":
    import pyarrow

    files = sorted(folder.glob("evidence-*.arrow"))
    if not files:
        raise InputError(f"{folder} holds no evidence; make a run with epsball audit --out.")
    try:
        return pyarrow.concat_tables([read_arrow(file) for file in files])
    except (OSError, ValueError) as error:
        raise InputError(f"the evidence in {folder} cannot be read ({error}); run the audit again.") from error
