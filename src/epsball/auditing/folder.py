"""The run folder: what was run, and its evidence shard by shard, so that a killed run resumes."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors

from epsball.auditing.evidence import ShardEvidence, Witnesses
from epsball.auditing.link import Columns
from epsball.auditing.manifest import check_schema, hash_of
from epsball.auditing.points import NearestPoints
from epsball.classifier.probe import same_probe
from epsball.errors import InputError
from epsball.files import exclusive, write_atomically, write_json
from epsball.results import arrow_bytes

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


_MAPPED = 1 << 14
"""Bytes from which a table is mapped."""


class RunFolder:
    """A folder with ``run.json`` and up to four files per shard k.

    They are ``evidence-k.arrow``, ``ledger-k.arrow``, ``witnesses-k.safetensors`` and, where examples stand that were
    attacked, ``points-k.safetensors``. Every file is written
    whole or not at all, the evidence last: a shard is done when its evidence is there.

    Parameters
    ----------
    path
        The folder; made if absent.
    description
        What is run. A folder that holds another run is refused.

    Raises
    ------
    InputError
        If the folder belongs to another run, naming the differences, or cannot be written.
    """

    def __init__(self, path: str | Path, description: dict[str, Any]) -> None:
        self.path, self.description = Path(path), description
        record = self.path / "run.json"
        if record.exists():
            _require_same(record, json.loads(json.dumps(description)))
        elif self._holds_something_else():
            raise InputError(f"{self.path} is not empty and does not hold a run; choose another folder.")
        else:
            write_json(record, description)

    def _holds_something_else(self) -> bool:
        """Return whether files lie in the folder and no run; another part of the same run may have begun just now."""
        there = self.path.is_dir() and any(not file.name.startswith(".") for file in self.path.iterdir())
        return there and not (self.path / "run.json").exists()

    @contextmanager
    def locked(self, name: str = "") -> Iterator[None]:
        """Keep other processes of this machine from auditing into the folder inside the block; a kill ends it.

        Raises
        ------
        InputError
            If another process audits into it, or it cannot be written.
        """
        path = self.path / f".lock{name}"
        try:
            opened = path.open("a")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}. Choose a folder that is writable.") from error
        with opened as file:
            if not exclusive(file):
                raise InputError(
                    f"another process is auditing into {self.path}. Wait for it, or choose another folder."
                )
            yield

    def _file(self, kind: str, shard: int, suffix: str) -> Path:
        return self.path / f"{kind}-{shard:05d}.{suffix}"

    def parts(self, shard: int | str) -> Path:
        """Return the folder of what the batches of a shard found, or those of a link on the whole run, until done."""
        return self.path / f"parts-{shard if isinstance(shard, str) else f'{shard:05d}'}"

    def done(self, shard: int) -> bool:
        """Return whether a shard is finished."""
        return self._file("evidence", shard, "arrow").exists()

    def parts_done(self, shard: int) -> int:
        """Return how many batches of an unfinished shard are there."""
        return sum(1 for _ in self.parts(shard).glob("*.safetensors"))

    def load(self, shard: int) -> ShardEvidence | None:
        """Return a finished shard, or None if it is not done; its tables are mapped, its witnesses read on demand."""
        if not self.done(shard):
            return None
        self._check_hashes(shard, "ledger", "evidence")
        self._check_witnesses(shard)
        return self._stored(shard)

    def _stored(self, shard: int) -> ShardEvidence:
        try:
            table = mapped_arrow(self._file("evidence", shard, "arrow"))
            ledger = mapped_arrow(self._file("ledger", shard, "arrow"))
        except (OSError, ValueError) as error:
            raise self._unreadable(shard, error) from error
        return ShardEvidence(
            table=table,
            ledger=ledger,
            witnesses=lambda: self._witnesses(shard),
            points=lambda: nearest_points(self.path, shard),
        )

    def _check_witnesses(self, shard: int) -> None:
        """Refuse witnesses that were cut off; their content is read, and compared, on demand and when the run ends."""
        try:
            with safe_open(self._file("witnesses", shard, "safetensors"), framework="pt") as file:
                if set(file.keys()) != {"index", "x", "x_adv"}:
                    raise ValueError(f"it holds {', '.join(file.keys()) or 'nothing'}")
        except (OSError, ValueError, SafetensorError) as error:
            raise self._unreadable(shard, error) from error

    def _witnesses(self, shard: int) -> Witnesses:
        self._check_hashes(shard, "witnesses")
        try:
            return witnesses_in(self.path, shard)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise self._unreadable(shard, error) from error

    def _unreadable(self, shard: int, error: Exception) -> InputError:
        return InputError(
            f"shard {shard} in {self.path} cannot be read ({error}); delete its evidence file to run it again."
        )

    def _shard_files(self, shard: int) -> list[Path]:
        kinds = {"witnesses": "safetensors", "points": "safetensors", "ledger": "arrow", "evidence": "arrow"}
        return [self._file(kind, shard, suffix) for kind, suffix in kinds.items()]

    def _hashes(self, shard: int) -> Path:
        """Return the file that holds the hashes of a shard's files; it lives in this folder alone."""
        return self.path / f".hashes-{shard:05d}.json"

    def check(self, shards: Iterable[int]) -> None:
        """Refuse shards whose files are not those that were written; the manifest would vouch for what is there.

        Raises
        ------
        InputError
            If one was changed, naming it.
        """
        for shard in shards:
            self._check_hashes(shard, "witnesses", "points", "ledger", "evidence")

    def _check_hashes(self, shard: int, *kinds: str) -> None:
        """Refuse files that are not those that were written; without a file of hashes nothing is compared."""
        try:
            written = json.loads(self._hashes(shard).read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise self._unreadable(shard, error) from error
        for file in (file for file in self._shard_files(shard) if file.name.startswith(kinds)):
            if file.name not in written and not file.exists():
                continue
            try:
                same = hash_of(file) == written.get(file.name)
            except OSError as error:
                raise self._unreadable(shard, error) from error
            if not same:
                raise self._unreadable(shard, ValueError(f"{file.name} is not what was written"))

    def store(self, shard: int, evidence: ShardEvidence) -> ShardEvidence:
        """Write a shard, its evidence last; return it as it is on disk."""
        witnesses = evidence.witnesses()
        # A kill from here on leaves a shard without hashes, not one with old ones.
        self._hashes(shard).unlink(missing_ok=True)
        points = {"index": witnesses.index, "x": witnesses.x, "x_adv": witnesses.x_adv}
        content = safetensors.save({name: tensor.cpu().contiguous() for name, tensor in points.items()})
        write_atomically(self._file("witnesses", shard, "safetensors"), content)
        nearest = evidence.points()
        if nearest is not None:
            steps = {"index": nearest.index, "step": nearest.step, "scale": nearest.scale}
            content = safetensors.save({name: tensor.cpu().contiguous() for name, tensor in steps.items()})
            write_atomically(self._file("points", shard, "safetensors"), content)
        write_atomically(self._file("ledger", shard, "arrow"), arrow_bytes(evidence.ledger))
        write_atomically(self._file("evidence", shard, "arrow"), arrow_bytes(evidence.table))
        write_json(
            self._hashes(shard), {file.name: hash_of(file) for file in self._shard_files(shard) if file.exists()}
        )
        return self._stored(shard)

    def write_table(self, name: str, table: "pyarrow.Table") -> None:
        """Write a table as an Arrow file."""
        write_atomically(self.path / name, arrow_bytes(table))

    def columns(self, name: str, columns: Sequence[str]) -> Columns:
        """Return columns of an Arrow file that `write_table` wrote."""
        try:
            table = read_arrow(self.path / name)
            return {column: table[column].to_pylist() for column in columns}
        except (OSError, ValueError, KeyError) as error:
            raise self._unmade(name, error) from error

    def document(self, name: str) -> dict[str, Any] | None:
        """Return a JSON document that was written there; None if it is not there."""
        path = self.path / name
        try:
            return json.loads(path.read_text()) if path.exists() else None
        except (OSError, ValueError) as error:
            raise self._unmade(name, error) from error

    def _unmade(self, name: str, error: Exception) -> InputError:
        return InputError(f"{self.path / name} cannot be read ({error}); delete it to have it made again.")

    def draw(self, name: str, figure: "Figure") -> None:
        """Write a figure as a PNG file."""
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120, format="png")
        write_atomically(self.path / name, buffer.getvalue())


def witnesses_in(folder: Path, shard: int) -> Witnesses:
    """Return the witnesses of a shard."""
    return Witnesses(**safetensors.load_file(folder / f"witnesses-{shard:05d}.safetensors"))


def nearest_points(folder: Path, shard: int) -> NearestPoints | None:
    """Return the nearest points of the examples of a shard that stand; None where the run has none."""
    file = folder / f"points-{shard:05d}.safetensors"
    return NearestPoints(**safetensors.load_file(file)) if file.exists() else None


def _require_same(record: Path, now: dict[str, Any]) -> None:
    try:
        earlier = json.loads(record.read_text())
        then, probe = dict(earlier["identity"]), list(earlier["probe"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record} cannot be read ({error}); choose another folder.") from error
    check_schema(record.parent, earlier)
    present = now["identity"]
    shown = list(differences(then, present))
    if not shown and not same_probe(probe, now["probe"]):
        shown = ["the model's code: its first margins differ, though its weights are the same"]
    if shown:
        raise InputError(
            f"{record.parent} holds another run ({'; '.join(shown)}). Choose another folder, or delete it."
        )


def differences(then: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yield what differs between two records, down to the option of the link that differs."""
    if then == now:
        return
    if not isinstance(then, dict) or not isinstance(now, dict):
        yield f"{name}: there {_shown(then)}, now {_shown(now)}"
        return
    if then.get("type") != now.get("type"):
        yield f"{name}: there {_shown(then)}, now {_shown(now)}"
        return
    for key in {**then, **now}:
        yield from differences(then.get(key), now.get(key), f"{name}.{key}" if name else key)


def _shown(value: Any) -> str:
    """Return a recorded value in a few words: a method by its class and options."""
    if value is None:
        return "none"
    if isinstance(value, dict) and "type" in value:
        options = ", ".join(f"{key}={_shown(item)}" for key, item in value.items() if key != "type")
        return f"{str(value['type']).rpartition('.')[2]}({options})"
    return repr(value)


def read_arrow(path: Path) -> "pyarrow.Table":
    """Return the table in an Arrow file."""
    import pyarrow

    with pyarrow.OSFile(str(path), "rb") as source:
        return pyarrow.ipc.open_file(source).read_all()


def mapped_arrow(path: Path) -> "pyarrow.Table":
    """Return the table in an Arrow file, mapped: pages are read when asked for, and given back when memory is short.

    The file may be replaced by another, but must not be cut off while the table is in use. One below `_MAPPED` bytes
    is read: a process may map some 65,000 files only, and an audit may be made of as many small shards.
    """
    import pyarrow

    if path.stat().st_size < _MAPPED:
        return read_arrow(path)
    with pyarrow.memory_map(str(path)) as source:
        return pyarrow.ipc.open_file(source).read_all()
