"""What a run keeps for its readers, and no verdict rests on: what it is about, and pixels and classes to show."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int64
from safetensors import torch as safetensors
from torch import Tensor

from epsball.attacks.engine.judge import Judge
from epsball.auditing.evidence import ShardEvidence
from epsball.auditing.subject import Subject
from epsball.data import as_pixels
from epsball.files import write_atomically, write_json
from epsball.generator_state import preserved
from epsball.interface import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow

ABOUT, SHOWN = "about.json", "shown.safetensors"

PER_VERDICT = 20
"""Examples of each verdict without witnesses whose pixels are kept, those of the worst margins."""

_WITHOUT_WITNESSES = ("misclassified", "certified", "undecided", "invalid")

PACKAGES = ("epsball", "torch", "numpy", "scipy", "safetensors", "pyarrow", "highspy", "onnxruntime")
"""Packages whose versions are written down."""


def write_about(folder: Path, subject: Subject) -> None:
    """Write ``about.json`` unless it is there: the command, the data's classes, the machine.

    It differs from machine to machine, so it belongs to no manifest.
    """
    if not (folder / ABOUT).exists():
        write_json(folder / ABOUT, _about(subject))


def _about(subject: Subject) -> dict[str, Any]:
    dataset, classifier = subject.dataset, subject.classifier
    return {
        "command": command(),
        "model": type(classifier.module).__name__,
        "data": dataset.name,
        "examples": len(dataset),
        "shape": list(dataset.shape),
        "classes": subject.classes,
        "class names": None if dataset.class_names is None else list(dataset.class_names),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "device": _device(classifier.device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
    }


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_shown(folder: Path, subject: Subject, evidence: "pyarrow.Table", shards: "Sequence[ShardEvidence]") -> None:
    """Write ``shown.safetensors`` of a finished run.

    ``witness.index`` and ``witness.prediction`` say what every witness is classified as by the canonical pass;
    ``example.index`` and ``example.x`` are the pixels of `PER_VERDICT` examples of each verdict without witnesses.
    """
    rows = _rows(evidence)
    positions = subject.dataset.positions[rows]
    if _is_shown(folder / SHOWN, positions, shards):
        return
    x, _ = subject.dataset.take(rows)
    index, predictions = _predictions(subject, shards)
    content = {
        "witness.index": index,
        "example.index": positions,
        "witness.prediction": predictions,
        "example.x": as_pixels(x),
    }
    write_atomically(
        folder / SHOWN, safetensors.save({name: tensor.cpu().contiguous() for name, tensor in content.items()})
    )


def _is_shown(path: Path, positions: Tensor, shards: "Sequence[ShardEvidence]") -> bool:
    """Return whether a finished run that was asked for again has the file about these examples already."""
    if not path.exists():
        return False
    kept = safetensors.load(path.read_bytes())
    # One shard after another, here and below: the witnesses of a whole run may be larger than memory.
    index = torch.cat([shard.witnesses().index.clone() for shard in shards])
    return torch.equal(kept["witness.index"], index.cpu()) and torch.equal(kept["example.index"], positions.cpu())


def _predictions(
    subject: Subject, shards: "Sequence[ShardEvidence]"
) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]:
    """Return position and class of each witness; these passes stand in no ledger, as those of figures."""
    classifier = subject.classifier
    judge = Judge(classifier)
    index, found = [], [torch.zeros(0, dtype=torch.int64)]
    with preserved(subject.seed if classifier.stochastic else None), classifier.in_use():
        for shard in shards:
            witnesses = shard.witnesses()
            index.append(witnesses.index.clone())  # The tensor itself holds the whole file in memory.
            if len(witnesses.index):
                found.append(judge.logits(classifier.to_model(witnesses.x_adv)).argmax(1).cpu())
    return torch.cat(index), torch.cat(found)


def _rows(evidence: "pyarrow.Table") -> list[int]:
    """Return the rows of the examples whose pixels are kept, in order."""
    import pyarrow.compute as pc

    verdicts = {name: pc.call_function("equal", [evidence["verdict"], name]).to_numpy() for name in _WITHOUT_WITNESSES}
    margin = evidence["natural.margin"].to_numpy().astype(np.float64)
    if "certificate.margin" in evidence.column_names:
        bound = evidence["certificate.margin"].to_numpy().astype(np.float64)
        margin = np.where(verdicts["certified"] & np.isfinite(bound), bound, margin)
    rows: list[int] = []
    for here in map(np.flatnonzero, verdicts.values()):
        order = np.argsort(margin[here], kind="stable")  # NaN last
        rows += here[order][:PER_VERDICT].tolist()
    return sorted(rows)
