"""Checks of what a run took over from other runs: that those are there, unchanged, and say what was taken."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from epsball.auditing import manifest as manifests
from epsball.auditing.folder import read_arrow
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.auditing.verifying.sentences import several

CHECK = "taken over"


def taken_over(record: Record) -> Iterator[Finding]:
    """Check the runs within other balls that rows were taken over from; nothing where there are none."""
    runs = {name: manifest for name, manifest in record.taken_over.items() if name != "baseline"}
    if "taken.certificate" not in record.table.column_names:
        return
    try:
        wrong = [said for name, manifest in runs.items() if (said := _changed(record.folder / name, manifest))]
        wrong += _rows(record, set(runs))
    except UNREADABLE as error:
        wrong = [f"a run that rows were taken over from cannot be read: {error}"]
    if not runs and not wrong:
        return
    count = sum(int(record.flag(f"taken.{name}").sum()) for name in ("broken", "stable"))
    yield Finding(check=CHECK, holds=not wrong, detail=several(wrong) or f"{count} rows, from {', '.join(runs)}")


def _changed(folder: Path, manifest: str) -> str | None:
    """Return what is wrong with a run that rows were taken over from."""
    file = folder / manifests.NAME
    if not file.exists():
        return f"{folder.name} is missing"
    if manifests.hash_of(file) != manifest:
        return f"{folder.name} is another run than the one that rows were taken over from"
    listed = (manifests.read_manifest(folder) or {"files": {}})["files"]
    changed = [name for name, known in listed.items() if not _same(folder / name, known)]
    return f"{changed[0]} in {folder.name} was changed" if changed else None


def _same(file: Path, known: str) -> bool:
    return file.exists() and manifests.hash_of(file) == known


def _rows(record: Record, runs: set[str]) -> Iterator[str]:
    """Yield what was taken over otherwise than the file says that a row names."""
    tables: dict[str, dict[int, dict[str, object]]] = {}
    index, stable = record.column("index"), record.flag("taken.stable")
    columns = {name: record.column(name) for name in ("taken.bound", "certificate.margin", "taken.certificate")}
    for row in np.nonzero(stable)[0].tolist():
        file, position = str(columns["taken.certificate"][row]), int(index[row])
        source = file.partition("/certificates/")[0] if "/certificates/" in file else file.rpartition("/")[0]
        if source not in runs and source not in _farther(record, runs):
            yield f"the certificate of {position} is said to be from {source}, which is none of the runs"
            continue
        if source not in tables:
            tables[source] = _evidence(record.folder / source)
        found = tables[source].get(position, {})
        if not found.get("certificate.stable") or found.get("certificate.margin") != columns["taken.bound"][row]:
            yield f"the certificate of {position} is not that in {source}"
        elif columns["certificate.margin"][row] != columns["taken.bound"][row]:
            yield f"the certified margin of {position} is not the one taken over"


def _farther(record: Record, runs: set[str]) -> set[str]:
    """Return the runs that those runs took over from themselves."""
    found: set[str] = set()
    for name in runs:
        if (record.folder / name / "run.json").exists():
            found |= set(Record.read(record.folder / name).taken_over)
    return found


def _evidence(folder: Path) -> dict[int, dict[str, object]]:
    """Return the evidence of a run by position."""
    rows = [row for file in sorted(folder.glob("evidence-*.arrow")) for row in read_arrow(file).to_pylist()]
    return {int(row["index"]): row for row in rows}
