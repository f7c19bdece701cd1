"""`merge`: the finished shards of several folders in one, which the audit then adds up."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball.auditing.folder import RunFolder, differences, read_arrow
from epsball.auditing.manifest import check_schema
from epsball.classifier.probe import same_probe
from epsball.errors import InputError
from epsball.files import write_atomically
from epsball.progress import report
from epsball.results import Result, arrow_table, jsonable

if TYPE_CHECKING:
    import pyarrow

_FILES = ("witnesses-{:05d}.safetensors", "ledger-{:05d}.arrow", "evidence-{:05d}.arrow")
"""The files of a shard, the evidence last: a shard is there when its evidence is."""

_NEXT = "the audit's command with --out and this folder, and without --shard, adds them up"


@dataclass(frozen=True, kw_only=True, repr=False)
class Merge(Result):
    """What was joined.

    Parameters
    ----------
    folder
        The joined run.
    shards
        The shards that it holds now.
    missing
        The shards that no part has.
    examples
        The examples of its shards.
    """

    folder: Path
    shards: tuple[int, ...]
    missing: tuple[int, ...]
    examples: int

    def __str__(self) -> str:
        return f"{self.held}\n{_NEXT}"

    @property
    def held(self) -> str:
        """What is there, and what is missing."""
        held = f"{self.folder}: {len(self.shards)} of {len(self.shards) + len(self.missing)} shards"
        text = f"{held}, {self.examples} examples"
        if not self.missing:
            return text
        shown = ", ".join(map(str, self.missing[:10])) + (", ..." if len(self.missing) > 10 else "")
        return f"{text}\nmissing: {shown}"

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return jsonable(
            {"folder": self.folder, "shards": self.shards, "missing": self.missing, "examples": self.examples}
        )

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per shard, and whether it is there."""
        numbers = sorted({*self.shards, *self.missing})
        there = ["yes" if number in self.shards else "no" for number in numbers]
        return arrow_table({"shard": list(map(str, numbers)), "there": there})


@dataclass(frozen=True, kw_only=True, repr=False)
class MergesByRadius(Result):
    """What was joined of audits within several balls.

    Parameters
    ----------
    folder
        The folder of the joined runs.
    runs
        The joined runs, one per ball.
    """

    folder: Path
    runs: tuple[Merge, ...]

    def __str__(self) -> str:
        return "\n".join([*(one.held for one in self.runs), _NEXT])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return jsonable({"folder": self.folder, "runs": [one.to_json() for one in self.runs]})

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per run and shard, and whether it is there."""
        import pyarrow

        tables = []
        for one in self.runs:
            table = one.to_arrow()
            tables.append(table.add_column(0, "run", pyarrow.array([one.folder.name] * len(table), pyarrow.string())))
        return pyarrow.concat_tables(tables)


def merge(parts: Sequence[str | Path], folder: str | Path) -> Merge | MergesByRadius:
    """Copy the finished shards of the parts of an audit into one folder; of several balls, those within each ball.

    The same audit, called with that folder and without a part, finds them there, does what is missing, and adds
    everything up. A shard that several parts have must be the same in all of them, byte for byte.

    Parameters
    ----------
    parts
        Folders that `epsball.audit` wrote with `part`.
    folder
        The joined run; it may hold shards already.

    Raises
    ------
    InputError
        If a folder holds no run, or another one than the first, or a shard differs between two parts; or if some parts
        are of one ball and others of several.

    Examples
    --------
    >>> import tempfile, torch, epsball as eb
    >>> x, y, (a, b, c) = torch.rand(6, 2), torch.arange(6) % 2, (tempfile.mkdtemp() for _ in range(3))
    >>> classifier, ball = eb.Classifier(torch.nn.Linear(2, 2)), eb.Ball("linf", 0.1)
    >>> options = {"attack": "fgsm", "certificates": "none", "limit": False, "shard_size": 2}
    >>> _ = eb.audit(classifier, (x, y), ball, part="1/2", folder=a, **options)
    >>> _ = eb.audit(classifier, (x, y), ball, part="2/2", folder=b, **options)
    >>> merge([a, b], c).shards
    (0, 1, 2)
    >>> eb.audit(classifier, (x, y), ball, folder=c, **options).chain.total
    6
    """
    folders = [Path(part) for part in parts]
    if not folders:
        raise InputError("no part was given; name the folders of the parts.")
    names = list(dict.fromkeys(name for part in folders for name in _runs_within(part)))
    if not names:
        return _merged(folders, Path(folder))
    if (Path(folder) / "run.json").exists():
        raise InputError(f"{folder} holds one run, and the parts are of several balls; choose another folder.")
    held = {name: [part / name for part in folders if (part / name).is_dir()] for name in names}
    single = [part for part in folders if not _runs_within(part)]
    if single:
        raise InputError(f"{single[0]} does not hold runs within several balls, as other parts do. Leave it out.")
    return MergesByRadius(
        folder=Path(folder), runs=tuple(_merged(there, Path(folder) / name) for name, there in held.items())
    )


def _runs_within(part: Path) -> list[str]:
    """Return the names of the runs in a folder of runs; none where it holds one run, or none."""
    if (part / "run.json").exists() or not part.is_dir():
        return []
    return sorted(record.parent.name for record in part.glob("*/run.json"))


def _merged(folders: Sequence[Path], folder: Path) -> Merge:
    """Return one run joined of its parts."""
    records = [_record(part) for part in folders]
    for part, record in zip(folders, records, strict=True):
        _require_same(folders[0], records[0], part, record)
    into = RunFolder(folder, records[0])
    with into.locked():
        for number, part in enumerate(folders):
            report("parts merged", number, len(folders))
            _copy(part, into)
        report("parts merged", len(folders), len(folders))
    return _found(into, records[0])


def _record(part: Path) -> dict[str, Any]:
    try:
        record = dict(json.loads((part / "run.json").read_text()))
        record |= {"identity": dict(record["identity"]), "probe": list(record["probe"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{part} does not hold a part of an audit ({error}); name folders of --shard.") from error
    check_schema(part, record)
    return record


def _require_same(first: Path, expected: dict[str, Any], part: Path, record: dict[str, Any]) -> None:
    shown = list(differences(expected["identity"], record["identity"]))
    if not shown and not same_probe(expected["probe"], record["probe"]):
        shown = ["the model's code: its first margins differ, though its weights are the same"]
    if shown:
        raise InputError(f"{part} holds a part of another audit than {first} ({'; '.join(shown)}). Leave it out.")


def _copy(part: Path, into: RunFolder) -> None:
    """Copy the finished shards of a part, each with its certificates first and its evidence last."""
    for evidence in sorted(part.glob("evidence-*.arrow")):
        number = int(evidence.stem.rpartition("-")[2])
        files = [part / name.format(number) for name in _FILES]
        if into.done(number):
            _require_equal(files, into, number)
            continue
        names = [file.relative_to(part).as_posix() for file in [*_certificates(part, evidence), *_models(part)]]
        beside = (f"points-{number:05d}.safetensors", f"timing-{number:05d}.arrow", f".made-with-{number:05d}.json")
        names += [name for name in beside if (part / name).exists()]
        for name in [*names, *(file.name for file in files)]:
            try:
                content = (part / name).read_bytes()
            except OSError as error:
                raise InputError(
                    f"{part / name} cannot be read ({error.strerror}); audit shard {number} again."
                ) from error
            write_atomically(into.path / name, content)


def _certificates(part: Path, evidence: Path) -> list[Path]:
    """Return the certificates of a shard's examples."""
    try:
        positions = read_arrow(evidence)["index"].to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{evidence} cannot be read ({error}); delete it and audit that part again.") from error
    files = (part / "certificates" / f"certificate-{position:06d}.json.gz" for position in positions)
    return [file for file in files if file.exists()]


def _models(part: Path) -> list[Path]:
    """Return the model files that certificates name."""
    return [file for file in (part / "certificates").glob("*") if not file.name.startswith(("certificate-", "."))]


def _require_equal(files: Sequence[Path], into: RunFolder, number: int) -> None:
    for file in files:
        there = into.path / file.name
        if file.resolve() != there.resolve() and file.read_bytes() != there.read_bytes():
            raise InputError(
                f"shard {number} is not the same in {file.parent} and in another part ({file.name} differs): they ran "
                "on other hardware, builds or numbers of threads. Delete one of them."
            )


def _found(into: RunFolder, record: dict[str, Any]) -> Merge:
    there = sorted(int(file.stem.rpartition("-")[2]) for file in into.path.glob("evidence-*.arrow"))
    examples = sum(len(read_arrow(into.path / f"evidence-{number:05d}.arrow")) for number in there)
    total = record.get("about", {}).get("examples")
    last = max(there, default=-1) + 1 if total is None else -(-int(total) // int(record["identity"]["shard"]))
    missing = tuple(number for number in range(last) if number not in set(there))
    return Merge(folder=into.path, shards=tuple(there), missing=missing, examples=examples)
