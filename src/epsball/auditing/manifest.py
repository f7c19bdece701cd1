"""The manifest of a run folder: the hash of every file of the run, and one hash of them all."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from epsball.errors import InputError
from epsball.files import write_json

NAME = "manifest.json"

SCHEMA = 2
"""Version of what a run folder holds. 1: no manifest (0.1.0). 2: a manifest; the diagnosis may stand beside."""

RUNS = "runs.json"
"""The file of a folder of runs, within several balls, that names them and the hashes of their manifests."""

RUNS_SCHEMA = 1
"""Version of that file."""

_EVIDENCE = ("evidence-*", "ledger-*", "witnesses-*", "points-*", "certificates/*")
_OF_THE_WHOLE = (
    "limit.arrow",
    "limit.json",
    "diagnosis.arrow",
    "diagnosis.json",
    "smoothed.arrow",
    "smoothed.json",
    "shown.safetensors",
)
_OF_A_RUN = (*_EVIDENCE, "run.json", "chain.json", *_OF_THE_WHOLE)
"""Patterns of the files that make a run; figures and what a user puts beside them are no evidence."""


def write_manifest(folder: Path) -> str:
    """Write the manifest of a finished run; return its hash, which stands for every file of the run."""
    write_json(folder / NAME, {"schema": SCHEMA, "files": {name: hash_of(folder / name) for name in run_files(folder)}})
    return hash_of(folder / NAME)


def run_files(folder: Path) -> list[str]:
    """Return the names of the files of a run that are in a folder, sorted."""
    return sorted(set(_matching(folder)))


def _matching(folder: Path) -> Iterator[str]:
    for pattern in _OF_A_RUN:
        for file in folder.glob(pattern):
            if file.is_file() and not file.name.startswith("."):
                yield file.relative_to(folder).as_posix()


def hash_of(file: Path) -> str:
    """Return the SHA-256 of a file's content, as ``sha256:...``."""
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a run, or None where it has none.

    Raises
    ------
    InputError
        If it cannot be read, or was written by a later version.
    """
    file = folder / NAME
    if not file.exists():
        return None
    try:
        manifest = json.loads(file.read_text())
        schema, files = int(manifest["schema"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}).") from error
    _require_known(folder, schema)
    return {"schema": schema, "files": files}


def check_schema(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuse a run that a later version wrote: its record says so, finished or not, or its manifest.

    Parameters
    ----------
    folder, record
        The folder, and the content of its ``run.json``; one of 0.1.0 names no schema.

    Raises
    ------
    InputError
        If the schema is later than `SCHEMA`, or none.
    """
    schema = record.get("schema", 1)
    if not isinstance(schema, int):
        raise InputError(f"{folder / 'run.json'} cannot be read (its schema is {schema!r}, not a whole number).")
    _require_known(folder, schema)
    read_manifest(folder)


def _require_known(folder: Path, schema: int) -> None:
    if schema > SCHEMA:
        raise InputError(f"{folder} holds a run of schema {schema}; this version knows {SCHEMA}. Update epsball.")


def write_runs(folder: Path, runs: Mapping[str, tuple[str, str | None]]) -> str:
    """Write the file that names the runs of a folder, with ball and manifest by name; return its hash."""
    document = {name: {"ball": ball, "manifest": manifest} for name, (ball, manifest) in runs.items()}
    write_json(folder / RUNS, {"schema": RUNS_SCHEMA, "runs": document})
    return hash_of(folder / RUNS)


def runs_of(folder: str | Path) -> dict[str, str | None] | None:
    """Return the manifest of each run of a folder of runs, by name; None where the folder is none.

    Raises
    ------
    InputError
        If the file that names them cannot be read, or was written by a later version.
    """
    file = Path(folder) / RUNS
    if not file.exists():
        return None
    try:
        document = json.loads(file.read_text())
        schema, runs = int(document["schema"]), {str(name): run["manifest"] for name, run in document["runs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} cannot be read ({error}); the command that made the runs writes it again.") from error
    if schema > RUNS_SCHEMA:
        raise InputError(f"{file} is of schema {schema}; this version knows {RUNS_SCHEMA}. Update epsball.")
    return runs
