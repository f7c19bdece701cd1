"""Several balls in parts: a shard takes over from the same shard within the other balls, whose runs are not whole yet.

A run within one ball takes over from whole runs within others: what their diagnosis broke after the last shard, too.
A part has some shards of them only. So it notes which files a shard was made with, and when all shards are joined, a
shard whose files are others by then is audited again: the run is that of one call, whatever the parts.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from epsball.auditing.folder import RunFolder, read_arrow
from epsball.auditing.links.taken import BASELINE
from epsball.auditing.manifest import hash_of
from epsball.auditing.parts import Parts
from epsball.auditing.sharing import Source
from epsball.auditing.sharing.source import BY_SHARD
from epsball.files import write_json

_KINDS = (("evidence", "arrow"), ("witnesses", "safetensors"))
"""The files that a shard takes over from."""


def as_begun(path: Path, known: list[Source], mine: Sequence[int] | None = None) -> list[Source]:
    """Return the runs that a run took over from when it began, if it did: with further radii the order changes.

    Parameters
    ----------
    path
        The folder of the run.
    known
        The runs that it takes over from if it begins now.
    mine
        The shards that this part does; None: all of them.
    """
    try:
        texts = _runs(json.loads((path / "run.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return known
    names = [text.partition(" ")[0] for text in texts]
    if mine is not None and any(text.endswith(BY_SHARD) for text in texts):
        return [Source.of_shards(path / name, mine, seen_from=path) for name in names]
    return [Source.read(path / name, seen_from=path) for name in names]


def note(folder: RunFolder, mine: Sequence[int], known: Sequence[Source]) -> None:
    """Write with which files of other runs the shards of a part are made that have not begun."""
    for number in mine if known else ():
        if not folder.done(number) and not folder.parts_done(number):
            made = {name: hash_of(folder.path / name) for name in _files(known, number)}
            write_json(_note(folder.path, number), made)


def settle(path: Path) -> None:
    """Make the joined parts within one ball what one call had begun: with whole runs to take over from.

    Shards that were made with other files than those are now are removed; a kill in between costs nothing else.
    """
    try:
        record = json.loads((path / "run.json").read_text())
        texts = _runs(record)
    except (OSError, ValueError, KeyError, TypeError):
        return
    if any(text.endswith(BY_SHARD) for text in texts):
        _as_of_one_call(path, record, texts)
    for file in path.glob(".made-with-*.json"):
        file.unlink()


def _as_of_one_call(path: Path, record: dict[str, Any], texts: Sequence[str]) -> None:
    """Remove shards that were made with other files than there are now, and record the runs that these belong to."""
    known = [Source.read(path / text.partition(" ")[0], seen_from=path) for text in texts]
    for file in sorted(path.glob("evidence-*.arrow")):
        number = int(file.stem.rpartition("-")[2])
        if not _as_noted(path, number, _files(known, number)):
            _remove(path, number, file)
    for batches in path.glob("parts-*"):
        Parts(batches).remove()
    taken = record["identity"]["links"]["taken"]
    now = {source.name: source.said for source in known}
    taken["runs"] = [now.get(text.partition(" ")[0], text) for text in taken["runs"]]
    write_json(path / "run.json", record)


def _runs(record: dict[str, Any]) -> list[str]:
    """Return the runs within other balls that a run takes over from, as its record names them."""
    links = record["identity"]["links"]
    texts = [str(text) for text in links["taken"]["runs"]] if "taken" in links else []
    return [text for text in texts if text.partition(" ")[0] != BASELINE]


def _files(known: Sequence[Source], number: int) -> Iterator[str]:
    for source in known:
        yield from (f"{source.name}/{kind}-{number:05d}.{suffix}" for kind, suffix in _KINDS)


def _note(path: Path, number: int) -> Path:
    return path / f".made-with-{number:05d}.json"


def _as_noted(path: Path, number: int, files: Iterator[str]) -> bool:
    """Return whether a shard was made with the files that are there now."""
    try:
        noted = json.loads(_note(path, number).read_text())
        return noted == {name: hash_of(path / name) for name in files}
    except (OSError, ValueError):
        return False


def _remove(path: Path, number: int, evidence: Path) -> None:
    """Remove a shard, its evidence first: without it the shard is not done."""
    positions = read_arrow(evidence)["index"].to_pylist()
    evidence.unlink()
    for kind, suffix in (("ledger", "arrow"), ("witnesses", "safetensors"), ("points", "safetensors")):
        (path / f"{kind}-{number:05d}.{suffix}").unlink(missing_ok=True)
    for position in positions:
        (path / "certificates" / f"certificate-{position:06d}.json.gz").unlink(missing_ok=True)
