"""The reader of one field: it notes every place that it reads, so that no field leaves without its evidence."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from epsball.auditing.exporting.field import Field, Pointer, Value
from epsball.auditing.exporting.run_files import Absent, RunFiles

if TYPE_CHECKING:
    import pyarrow


def measured(name: str, files: RunFiles, measure: "Callable[[Reader], Value]") -> Field:
    """Return a field that is read off the evidence; not measured where a piece of it is not there."""
    reader = Reader(files)
    try:
        value = measure(reader)
    except Absent as absent:
        return Field(name=name, missing=str(absent))
    return Field(name=name, value=value, evidence=reader.pointers)


class Reader:
    """Reads a run for one field.

    Every method raises `Absent` where what it reads is not there.

    Parameters
    ----------
    files
        The run.
    """

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._columns: dict[tuple[str, str], tuple[str, list[str]]] = {}
        self._places: dict[tuple[str, str], Pointer] = {}

    @property
    def pointers(self) -> tuple[Pointer, ...]:
        """Where it has read, each place once."""
        tables = [
            Pointer(file=file, sha256=sha256, rows=rows, columns=tuple(columns))
            for (file, rows), (sha256, columns) in self._columns.items()
        ]
        return (*tables, *self._places.values())

    def column(self, name: str) -> np.ndarray:
        """Return a column of the evidence, over all examples."""
        found = self._column("evidence-*.arrow", name)
        if self._files.lists_nothing and len(found) != self.document("chain.json", "total"):
            raise Absent("the evidence is not about as many examples as the chain")
        return found

    def flag(self, name: str) -> np.ndarray:
        """Return a column of the evidence that is true or false."""
        return self.column(name).astype(bool)

    def has(self, name: str) -> bool:
        """Return whether the evidence has a column of that name."""
        return all(name in self._files.table(file).column_names for file in self._shards("evidence-*.arrow"))

    def ledger(self, name: str) -> np.ndarray:
        """Return a column of the ledger, over all shards."""
        return self._column("ledger-*.arrow", name)

    def document(self, file: str, *path: str) -> Any:
        """Return a value in a JSON document."""
        found: Any = self._files.document(file)
        for key in path:
            if not isinstance(found, dict) or key not in found:
                raise Absent(f"{file} says nothing of {'/'.join(path)}")
            found = found[key]
        at = "/" + "/".join(key.replace("~", "~0").replace("/", "~1") for key in path)
        self._places[file, at] = Pointer(file=file, sha256=self._files.hash_of(file), at=at)
        if found is None:
            raise Absent(f"{file} says that {'/'.join(path)} was not measured")
        return found

    def table_column(self, file: str, name: str) -> np.ndarray:
        """Return a column of another table of the run, with one row per example."""
        return self._values(file, self._files.table(file), name)

    @property
    def diagnosed(self) -> bool:
        """Whether the run has a diagnosis."""
        return bool(self._files.names("diagnosis.*"))

    def broken(self) -> np.ndarray:
        """Return which right examples fell, each with its witness in the run."""
        broken = self.flag("attack.broken") & self.flag("natural.correct")
        if self.diagnosed:
            broken = broken | self.table_column("diagnosis.arrow", "diagnosis.broken").astype(bool)
        witnessed = self.witnesses("index")
        index = self.column("index")
        without = sorted(set(index[broken].tolist()) - set(witnessed.tolist()))
        if without:
            raise Absent(f"{len(without)} broken examples have no witness, the first at {without[0]}")
        return broken

    def witnesses(self, key: str) -> torch.Tensor:
        """Return a tensor of the witnesses, over all shards."""
        parts = []
        for file in self._shards("witnesses-*.safetensors"):
            found = self._files.tensor(file, key)
            self._note(file, self._files.hash_of(file), len(found), key)
            parts.append(found)
        return torch.cat(parts)

    def certified(self) -> np.ndarray:
        """Return which right examples are certified; where their certificates can be replayed, with their files."""
        certified = self.flag("certificate.certified")
        positions = self.column("index")[certified & self.flag("certificate.replayable")].tolist()
        wanted = [f"certificates/certificate-{position:06d}.json.gz" for position in positions]
        there = set(self._files.names("certificates/*"))
        without = [name for name in wanted if name not in there]
        if without:
            raise Absent(f"{len(without)} certificates are missing, the first {without[0]}")
        if wanted:
            names = sorted(there)
            pointer = Pointer(
                file="certificates/*", sha256=self._files.hash_of_all(names), rows=f"{len(wanted)} certificates"
            )
            self._places["certificates/*", ""] = pointer
        return certified

    def manifest(self) -> str:
        """Return the hash of the manifest."""
        found = self._files.manifest_hash
        self._places["manifest.json", ""] = Pointer(file="manifest.json", sha256=found, at="")
        return found

    def timing(self, name: str) -> np.ndarray:
        """Return a column of the times."""
        return np.concatenate([self._values(file, table, name, sha) for file, sha, table in self._files.timings()])

    def _column(self, pattern: str, name: str) -> np.ndarray:
        parts = [self._values(file, self._files.table(file), name) for file in self._shards(pattern)]
        return np.concatenate(parts)

    def _shards(self, pattern: str) -> list[str]:
        names = self._files.names(pattern)
        kind, _, suffix = pattern.partition("-*.")
        if names != [f"{kind}-{number:05d}.{suffix}" for number in range(len(names))]:
            raise Absent(f"a shard is missing: there are {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}")
        if not names:
            raise Absent(f"{pattern} are missing")
        return names

    def _values(self, file: str, table: "pyarrow.Table", name: str, sha256: str | None = None) -> np.ndarray:
        if name not in table.column_names:
            raise Absent(f"{file} has no column {name}")
        self._note(file, self._files.hash_of(file) if sha256 is None else sha256, len(table), name)
        return table[name].to_numpy(zero_copy_only=False)

    def _note(self, file: str, sha256: str, rows: int, column: str) -> None:
        span = f"0-{rows - 1}" if rows else "none"
        _, columns = self._columns.setdefault((file, span), (sha256, []))
        if column not in columns:
            columns.append(column)
