"""What a run folder holds: every file but ``run.json`` and one shard may be missing."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from epsball.auditing.folder import read_arrow
from epsball.auditing.manifest import NAME, check_schema, hash_of
from epsball.auditing.showing import ABOUT, SHOWN
from epsball.errors import InputError

if TYPE_CHECKING:
    import pyarrow

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
"""What reading a damaged file raises."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A run, read from its folder.

    Parameters
    ----------
    folder
        The folder.
    run, about, chain
        The content of ``run.json``, of ``about.json`` and ``chain.json``; empty where there is none.
    table, ledger
        Evidence and passes of all finished shards.
    diagnosis, limit
        The content of ``diagnosis.json`` and ``limit.json``, or None.
    title
        What it is called, where that is not its folder's name.
    problems
        Files that could not be read, one sentence each.
    """

    folder: Path
    run: dict[str, Any]
    about: dict[str, Any]
    chain: dict[str, Any]
    table: "pyarrow.Table"
    ledger: "pyarrow.Table | None"
    diagnosis: dict[str, Any] | None
    limit: dict[str, Any] | None = None
    title: str | None = None
    problems: tuple[str, ...] = field(default=())

    @classmethod
    def read(cls, path: str | Path) -> "Reading":
        """Read a run folder.

        Raises
        ------
        InputError
            If it holds no run, one of a later schema, or a finished one without evidence that can be read.
        """
        folder = Path(path)
        try:
            run = dict(json.loads((folder / "run.json").read_text()))
            run["identity"]["ball"]
        except UNREADABLE as error:
            raise InputError(f"{folder} does not hold a run ({error}); epsball audit --out makes one.") from error
        check_schema(folder, run)
        problems: list[str] = []
        documents = {
            name: _document(folder / name, problems) for name in ("chain.json", ABOUT, "diagnosis.json", "limit.json")
        }
        table = _tables(sorted(folder.glob("evidence-*.arrow")), problems)
        if table is None and documents["chain.json"] is not None:
            raise InputError(f"{folder} holds no evidence that can be read ({'; '.join(problems) or 'none there'}).")
        table = _empty() if table is None else table
        return cls(
            folder=folder,
            run=run,
            about=documents[ABOUT] or {},
            chain=documents["chain.json"] or {},
            table=_joined(table, folder, problems),
            ledger=_tables(sorted(folder.glob("ledger-*.arrow")), problems),
            diagnosis=documents["diagnosis.json"],
            limit=documents["limit.json"],
            problems=tuple(problems),
        )

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.title or self.folder.resolve().name

    @property
    def words(self) -> tuple[str, str] | None:
        """The model and the data as the run's command names them; None where there is no command."""
        try:
            given = shlex.split(str(self.about.get("command") or ""))
        except ValueError:
            return None
        if given[:2] != ["epsball", "audit"] or len(given) < 4 or any(word.startswith("-") for word in given[2:4]):
            return None
        return given[2], given[3]

    @property
    def subject(self) -> str:
        """The model and the data as a command needs them: as this run's command names them, else placeholders."""
        return shlex.join(self.words or ("MODEL", "DATA"))

    @property
    def address(self) -> str:
        """The folder as a command needs it: as this run's command names it, else by its own name."""
        return shlex.quote(self._told)

    def beside(self, suffix: str) -> str:
        """Return a folder beside this one, as a command needs it."""
        return shlex.quote(f"{self._told}-{suffix}")

    @property
    def _told(self) -> str:
        own = self.folder.resolve()
        try:
            given = shlex.split(str(self.about.get("command") or ""))
        except ValueError:
            given = []
        told = [Path(value) for word, value in pairwise(given) if word == "--out"]
        told += [Path(word.removeprefix("--out=")) for word in given if word.startswith("--out=")]
        for out in told:
            if out.name == own.name:
                return str(out)
            if out.name == own.parent.name:
                return str(out / own.name)
        return own.name

    @property
    def model(self) -> str | None:
        """What the model is called: as the command names it, else its class."""
        return self.about.get("model") if self.words is None else self.words[0]

    @property
    def identity(self) -> dict[str, Any]:
        """What was audited, and how."""
        return self.run["identity"]

    @property
    def partial(self) -> bool:
        """Whether the run goes on: the chain is written last."""
        return not self.chain

    def column(self, name: str) -> np.ndarray:
        """Return a column of the evidence; NaN or None throughout where the run has none of that name."""
        if name not in self.table.column_names:
            return np.full(len(self.table), None, dtype=object)
        return self.table[name].to_numpy(zero_copy_only=False)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as floats, NaN where there is none."""
        return self.column(name).astype(np.float64)

    def flag(self, name: str) -> Bool[np.ndarray, " n"]:
        """Return a boolean column, false throughout where the run has none of that name."""
        return self.column(name).astype(bool)

    @cached_property
    def verdict(self) -> np.ndarray:
        """The verdict of each example."""
        return np.asarray(self.table["verdict"].to_pylist(), dtype=object)

    @property
    def class_names(self) -> list[str]:
        """The name of each class: the data's, or its number."""
        labels = [int(value) for name in ("label", "prediction") for value in self.column(name)]
        count = max([int(self.about.get("classes") or 0), *(label + 1 for label in labels)])
        given = self.about.get("class names") or []
        return [str(given[k]) if k < len(given) else str(k) for k in range(count)]

    @property
    def manifest(self) -> str | None:
        """The hash that stands for every file of the run."""
        file = self.folder / NAME
        return hash_of(file) if file.exists() else None

    def witnesses(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield index, x and x_adv of the witnesses of each shard that can be read."""
        for file in sorted(self.folder.glob("witnesses-*.safetensors")):
            try:
                found = safetensors.load_file(file)
                yield {name: found[name] for name in ("index", "x", "x_adv")}
            except UNREADABLE:
                continue

    @cached_property
    def shown(self) -> dict[str, np.ndarray]:
        """What ``shown.safetensors`` holds; empty where it is missing."""
        file = self.folder / SHOWN
        try:
            with safe_open(file, "numpy") as content:
                return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        except UNREADABLE:
            return {}


def _document(file: Path, problems: list[str]) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        return dict(json.loads(file.read_text()))
    except UNREADABLE as error:
        problems.append(f"{file.name} cannot be read ({error})")
        return None


def _tables(files: list[Path], problems: list[str]) -> "pyarrow.Table | None":
    import pyarrow

    tables = []
    for file in files:
        try:
            tables.append(read_arrow(file).replace_schema_metadata(None))
        except UNREADABLE as error:
            problems.append(f"{file.name} cannot be read ({error})")
    return pyarrow.concat_tables(tables, promote_options="default") if tables else None


def _empty() -> "pyarrow.Table":
    """Return the evidence of a run of which no shard is finished yet."""
    import pyarrow

    types = {"index": "int64", "label": "int64", "prediction": "int64", "verdict": "string", "invalid.reason": "string"}
    flags = ("natural.correct", "natural.failed", "attack.broken")
    fields = [*types.items(), *((name, "bool") for name in flags), ("natural.margin", "double")]
    return pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in fields]).empty_table()


def _joined(table: "pyarrow.Table", folder: Path, problems: list[str]) -> "pyarrow.Table":
    """Return the evidence with the columns that links added after the last shard."""
    for name in ("limit", "diagnosis"):
        file = folder / f"{name}.arrow"
        if not file.exists():
            continue
        try:
            more = read_arrow(file)
            if more["index"].to_pylist() != table["index"].to_pylist():
                raise ValueError("it is about other examples")
            for column in more.column_names:
                if column not in table.column_names:
                    table = table.append_column(column, more[column])
        except UNREADABLE as error:
            problems.append(f"{file.name} cannot be read ({error})")
    return table
