"""Checkpoints of a running training: written whole or not at all, checked when read, the last two kept."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from epsball.errors import InputError
from epsball.files import write_atomically
from epsball.generator_state import generator_states, restore_generators

FOLDER = "checkpoints"
KEPT = 2
_HEAD = b"epsball checkpoint, sha256 "


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the state after ``state["run"]["step"]`` steps; older ones are removed once it is on the disk.

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
        remedy = f"delete it to resume from {older[-1].name}" if older else "delete it to start again"
        raise InputError(f"the checkpoint {newest} is damaged or cut short: its checksum does not match; {remedy}.")
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def _path(folder: Path, step: int) -> Path:
    return folder / FOLDER / f"step-{step:012d}.pt"


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files that a kill in the middle of a write left behind."""
    for place in (folder, folder / FOLDER):
        for path in place.glob(".*.????????"):
            path.unlink()


def stored_generators() -> dict[str, Any]:
    """Return the states of the global generators in types that `read_checkpoint` reads."""
    states = generator_states()
    name, words, *rest = states["numpy"]
    return {**states, "numpy": [name, torch.tensor(words.astype(np.int64)), *rest]}


def restore_stored_generators(states: dict[str, Any]) -> None:
    """Put the global generators into states that `stored_generators` returned."""
    name, words, *rest = states["numpy"]
    restore_generators({**states, "numpy": (name, words.numpy().astype(np.uint32), *rest)})


def moved(state: Any, device: str | torch.device) -> Any:
    """Return nested dictionaries and lists with copies of their tensors on a device."""
    if isinstance(state, torch.Tensor):
        return state.detach().clone().to(device)
    if isinstance(state, dict):
        return {key: moved(value, device) for key, value in state.items()}
    return [moved(value, device) for value in state] if isinstance(state, list) else state
