"""A run folder as verification reads it: every file may be wrong."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from epsball.auditing.evidence import Witnesses
from epsball.auditing.folder import read_arrow
from epsball.auditing.manifest import check_schema
from epsball.ball import Ball
from epsball.errors import InputError

if TYPE_CHECKING:
    import pyarrow

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
"""What reading a damaged file raises."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """What a run folder says.

    Parameters
    ----------
    folder
        The folder.
    run, chain
        The content of ``run.json`` and ``chain.json``.
    """

    folder: Path
    run: dict[str, Any]
    chain: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> "Record":
        """Read a run folder.

        Raises
        ------
        InputError
            If it holds no run, or one that is not finished.
        """
        folder = Path(path)
        try:
            run = dict(json.loads((folder / "run.json").read_text()))
            Ball.parse(run["identity"]["ball"])
        except UNREADABLE as error:
            raise InputError(f"{folder} does not hold a run ({error}); epsball audit --out makes one.") from error
        check_schema(folder, run)
        if not (folder / "chain.json").exists():
            raise InputError(f"the audit in {folder} is not finished: the command that made it goes on from there.")
        try:
            chain = dict(json.loads((folder / "chain.json").read_text()))
        except UNREADABLE:
            chain = {}
        return cls(folder=folder, run=run, chain=chain)

    @property
    def identity(self) -> dict[str, Any]:
        """What was audited, and how."""
        return self.run["identity"]

    @property
    def ball(self) -> Ball:
        """The perturbation set."""
        return Ball.parse(self.identity["ball"])

    @cached_property
    def table(self) -> "pyarrow.Table":
        """The evidence of all shards, in their order."""
        import pyarrow

        return pyarrow.concat_tables([read_arrow(file) for file in sorted(self.folder.glob("evidence-*.arrow"))])

    def column(self, name: str) -> np.ndarray:
        """Return a column of the evidence."""
        return self.table[name].to_numpy(zero_copy_only=False) if name in self.table.column_names else np.array([])

    def flag(self, name: str) -> np.ndarray:
        """Return a boolean column, false throughout where the run has none of that name."""
        found = self.column(name)
        return found.astype(bool) if len(found) else np.zeros(len(self.table), dtype=bool)

    def taken(self, what: str, row: int) -> str | None:
        """Return the file of another run that a row's witness or certificate was taken over from; None for its own."""
        name = f"taken.{what}"
        return self.table[name][row].as_py() if name in self.table.column_names else None

    @property
    def taken_over(self) -> dict[str, str]:
        """The manifest of each run that rows were taken over from, by its name as seen from here."""
        runs = self.identity.get("links", {}).get("taken", {}).get("runs", [])
        return {name: manifest for name, _, manifest in (str(run).partition(" ") for run in runs)}

    @property
    def diagnosed(self) -> np.ndarray:
        """Which examples the diagnosis broke."""
        file = self.folder / "diagnosis.arrow"
        if not file.exists():
            return np.zeros(len(self.table), dtype=bool)
        return read_arrow(file)["diagnosis.broken"].to_numpy(zero_copy_only=False).astype(bool)

    @property
    def broken(self) -> np.ndarray:
        """Which examples have a witness by the evidence's columns."""
        return (self.flag("attack.broken") & self.flag("natural.correct")) | self.diagnosed

    @property
    def witness_margins(self) -> np.ndarray:
        """The margin at the witness of each broken example, by the attack or the diagnosis."""
        file = self.folder / "diagnosis.arrow"
        if not file.exists():
            return self.column("attack.margin")
        late = read_arrow(file)["diagnosis.margin"].to_numpy(zero_copy_only=False).astype(float)
        return np.where(self.diagnosed, late, self.column("attack.margin"))

    def witnesses(self) -> Iterator[Witnesses]:
        """Yield the witnesses of each shard."""
        for file in sorted(self.folder.glob("witnesses-*.safetensors")):
            yield Witnesses(**safetensors.load_file(file))

    def rows_of(self, index: Tensor) -> Tensor:
        """Return the rows of the evidence at positions of the source; -1 where there is none."""
        place = {position: row for row, position in enumerate(self.column("index").tolist())}
        return torch.tensor([place.get(position, -1) for position in index.tolist()], dtype=torch.int64)
