"""The parts of the shard under way: what its finished batches found, so that an interruption costs one batch."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from jaxtyping import Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from epsball.attacks import AttackResult, Ledger
from epsball.attacks.engine.ledger import NUMBERS
from epsball.certificates.cascade import CascadeResult
from epsball.files import write_atomically

T = TypeVar("T")

Content = tuple[dict[str, Tensor], dict[str, Any]]
"""What a file holds: tensors by name, and a JSON document."""


@dataclass(frozen=True)
class Form:
    """How a kind of part is written to a file and read back."""

    written: Callable[[Any], Content]
    read: Callable[[dict[str, Tensor], dict[str, Any]], Any]


class Parts:
    """What the batches of a shard found, by name: in memory, and in a folder if there is one.

    Parameters
    ----------
    folder
        Where they are written until the shard is done, or None.

    Attributes
    ----------
    closed
        Whether only what was found is returned, and nothing more is computed: after an interruption.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._found: dict[str, Any] = {}
        self.closed = False

    def kept(self, name: str, compute: Callable[[], T]) -> T | None:
        """Return what was found under a name, in memory only; else compute it, or return None if closed."""
        if name not in self._found and not self.closed:
            self._found[name] = compute()
        return self._found.get(name)

    def attack(
        self, name: str, index: Int64[Tensor, " n"]
    ) -> Callable[[slice, Callable[[], AttackResult]], AttackResult | None]:
        """Return what keeps the chunks of an attack on the examples at `index`, for `epsball.attacks.search.search`."""
        return lambda rows, chunk: self._filed(_named(name, index[rows]), chunk, _ATTACK)

    def bounds(
        self, name: str, index: Int64[Tensor, " n"]
    ) -> Callable[[Tensor, Callable[[], CascadeResult]], CascadeResult | None]:
        """Return what keeps the batches of the examples at `index`, for `Certification.certificates`."""
        return lambda rows, batch: self._filed(_named(name, index[rows]), batch, _BOUNDS)

    def _filed(self, name: str, compute: Callable[[], T], form: Form) -> T | None:
        """Return what was found under a name; else compute it. With a folder only its file is kept, once written."""
        if self._folder is None or name in self._found:
            return self.kept(name, compute)
        path = self._folder / f"{name}.safetensors"
        kept = _read(path, form) if path.exists() else None
        found = self.kept(name, compute) if kept is None else kept
        if kept is None and found is not None and not getattr(found, "interrupted", False):
            tensors, document = form.written(found)
            plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
            write_atomically(path, save(plain, {"document": json.dumps(document)}))
            del self._found[name]
        return found

    def remove(self) -> None:
        """Remove the files: the shard is done."""
        if self._folder is not None and self._folder.is_dir():
            for file in self._folder.iterdir():
                file.unlink()
            self._folder.rmdir()


def _named(name: str, index: Int64[Tensor, " n"]) -> str:
    """Return the name of a batch: its first example and a digest of all, so that it is never taken for another."""
    digest = crc32(index.cpu().numpy().tobytes())
    return f"{name}-{int(index[0]):06d}-{digest:08x}"


def _read(path: Path, form: Form) -> Any:
    """Return the part in a file; None if it cannot be read, so that it is found again."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return form.read(tensors, json.loads(file.metadata()["document"]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


_POINTS = ("x_adv", "broken", "margin", "natural", "nearest", "distance")


def _attack_written(found: AttackResult) -> Content:
    ledger = {f"ledger.{name}": getattr(found.ledger, name) for name in NUMBERS}
    document = {"by": list(found.by), "attack": list(found.ledger.attack), "invalid": found.invalid}
    document |= {"notes": list(found.notes)} if found.notes else {}
    return {name: getattr(found, name) for name in _POINTS} | ledger, document


def _attack_read(tensors: dict[str, Tensor], document: dict[str, Any]) -> AttackResult:
    points: dict[str, Any] = {name: tensors[name] for name in _POINTS}
    return AttackResult(
        **points,
        by=document["by"],
        ledger=Ledger(attack=document["attack"], **{name: tensors[f"ledger.{name}"] for name in NUMBERS}),
        invalid={int(position): reason for position, reason in document["invalid"].items()},
        notes=tuple(document.get("notes", ())),
    )


_NUMBERED = ("endings", "too_large")
_COSTS = ("separated", "passes", "seconds")


def _bounds_written(found: CascadeResult) -> Content:
    margins = {f"margin.{name}": bounds for name, bounds in found.margins.items()}
    met = {f"met.{at}": point for at, point in found.met.items()}
    document = {"by": found.by} | {name: value for name in _NUMBERED if (value := getattr(found, name))}
    return {name: getattr(found, name) for name in _COSTS} | margins | met, document


def _bounds_read(tensors: dict[str, Tensor], document: dict[str, Any]) -> CascadeResult:
    margins = {name.removeprefix("margin."): tensors[name] for name in tensors if name.startswith("margin.")}
    by = {int(at): method for at, method in document["by"].items()}
    costs: dict[str, Any] = {name: tensors[name] for name in _COSTS}
    numbered: dict[str, Any] = {
        name: {int(at): value for at, value in document.get(name, {}).items()} for name in _NUMBERED
    }
    met = {int(name.removeprefix("met.")): tensors[name] for name in tensors if name.startswith("met.")}
    return CascadeResult(margins=margins, by=by, met=met, **numbered, **costs)


_ATTACK, _BOUNDS = Form(_attack_written, _attack_read), Form(_bounds_written, _bounds_read)
