"""The run folder: what was run, and its evidence shard by shard, so that a killed run goes on."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors

from epsball.auditing.evidence import ShardEvidence
from epsball.errors import InputError
from epsball.files import write_atomically, write_json

if TYPE_CHECKING:
    import pyarrow


class RunFolder:
    """A folder with ``run.json`` and three files a shard k.

    They are ``evidence-k.arrow``, ``ledger-k.arrow`` and ``witnesses-k.safetensors``.

    Every file is written whole or not at all, the evidence last: a shard is done when its
    evidence is there.

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
        self.path = Path(path)
        record = self.path / "run.json"
        if record.exists():
            _require_same(record, description)
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise InputError(f"{self.path} is not empty and holds no run; choose another folder.")
        else:
            write_json(record, description)

    def _file(self, kind: str, shard: int, suffix: str) -> Path:
        return self.path / f"{kind}-{shard:05d}.{suffix}"

    def load(self, shard: int) -> ShardEvidence | None:
        """Return a finished shard, or None if it is still to do."""
        if not self._file("evidence", shard, "arrow").exists():
            return None
        try:
            points = safetensors.load_file(self._file("witnesses", shard, "safetensors"))
            return ShardEvidence(
                table=_read_arrow(self._file("evidence", shard, "arrow")),
                ledger=_read_arrow(self._file("ledger", shard, "arrow")),
                index=points["index"],
                x=points["x"],
                x_adv=points["x_adv"],
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError(
                f"shard {shard} in {self.path} cannot be read ({error}); delete its evidence file to run it again."
            ) from error

    def store(self, shard: int, evidence: ShardEvidence) -> None:
        """Write a shard, its evidence last."""
        points = {"index": evidence.index, "x": evidence.x, "x_adv": evidence.x_adv}
        content = safetensors.save({name: tensor.cpu().contiguous() for name, tensor in points.items()})
        write_atomically(self._file("witnesses", shard, "safetensors"), content)
        write_atomically(self._file("ledger", shard, "arrow"), _arrow_bytes(evidence.ledger))
        write_atomically(self._file("evidence", shard, "arrow"), _arrow_bytes(evidence.table))


def _require_same(record: Path, description: dict[str, Any]) -> None:
    try:
        earlier = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{record} cannot be read ({error}); choose another folder.") from error
    now = json.loads(json.dumps(description))
    different = [key for key in {**earlier, **now} if earlier.get(key) != now.get(key)]
    if different:
        shown = "; ".join(f"{key}: there {earlier.get(key)!r}, now {now.get(key)!r}" for key in different)
        raise InputError(f"{record.parent} holds another run ({shown}). Choose another folder, or delete it.")


def _arrow_bytes(table: "pyarrow.Table") -> bytes:
    import pyarrow

    sink = io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _read_arrow(path: Path) -> "pyarrow.Table":
    import pyarrow

    with pyarrow.OSFile(str(path), "rb") as source:
        return pyarrow.ipc.open_file(source).read_all()


def environment() -> dict[str, str]:
    """Return the versions a verdict may depend on."""
    import epsball

    return {"epsball": epsball.__version__, "torch": str(torch.__version__)}
