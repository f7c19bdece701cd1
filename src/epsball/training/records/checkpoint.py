"""Checkpoints of a running training: written whole or not at all, checked when read, the last two kept."""

import hashlib
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from epsball.errors import InputError
from epsball.files import write_atomically

FOLDER = "checkpoints"
KEPT = 2
_HEAD = b"epsball checkpoint, sha256 "


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the state after ``state["run"]["step"]`` steps; older ones go once it is on the disk.

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written; older checkpoints stay.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest().encode()
    write_atomically(_path(folder, state["run"]["step"]), _HEAD + digest + b"\n" + content)
    for path in checkpoints(folder)[:-KEPT]:
        path.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a run's folder, the oldest first."""
    return sorted((folder / FOLDER).glob("step-*.pt"))


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint of a run's folder, or None if there is none.

    Reading runs no code from the file.

    Raises
    ------
    InputError
        If it is damaged, naming the older one that is left.
    """
    found = checkpoints(folder)
    if not found:
        return None
    newest, older = found[-1], found[:-1]
    head, _, content = newest.read_bytes().partition(b"\n")
    if head != _HEAD + hashlib.sha256(content).hexdigest().encode():
        remedy = f"delete it to go on from {older[-1].name}" if older else "delete it to begin anew"
        raise InputError(f"the checkpoint {newest} is damaged or cut short: its checksum does not fit; {remedy}.")
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def _path(folder: Path, step: int) -> Path:
    return folder / FOLDER / f"step-{step:012d}.pt"


def sweep(folder: Path) -> None:
    """Remove the temporary files that a kill in the middle of a write left behind."""
    for place in (folder, folder / FOLDER):
        for path in place.glob(".*.????????"):
            path.unlink()


def generators() -> dict[str, Any]:
    """Return the states of the process's global generators: torch, CUDA, NumPy, Python."""
    name, words, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [name, torch.tensor(np.asarray(words, np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def set_generators(states: dict[str, Any]) -> None:
    """Put the process's global generators into states that `generators` returned."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, words, *rest = states["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["python"])


def moved(state: Any, device: str | torch.device) -> Any:
    """Return nested dictionaries and lists with copies of their tensors on a device."""
    if isinstance(state, torch.Tensor):
        return state.detach().clone().to(device)
    if isinstance(state, dict):
        return {key: moved(value, device) for key, value in state.items()}
    return [moved(value, device) for value in state] if isinstance(state, list) else state
