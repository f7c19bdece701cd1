"""Going on with a run: its configuration must be the one it was begun with, or the change wanted."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epsball.errors import InputError
from epsball.training.records.artifacts import LAST
from epsball.training.records.checkpoint import read_checkpoint


def differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one line ``key: begun -> now`` for each entry that differs, nested ones by a dotted key."""
    a, b = _flat(begun), _flat(now)
    absent = "(absent)"
    return [f"{key}: {a.get(key, absent)} -> {b.get(key, absent)}" for key in {**a, **b} if a.get(key) != b.get(key)]


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            entries |= _flat(value, f"{prefix}{key}.")
        else:
            entries[f"{prefix}{key}"] = value
    return entries


def checkpoint_to_resume(folder: Path | None, now: Mapping[str, Any], override: bool) -> dict[str, Any] | None:
    """Return the checkpoint to go on from, or None for a new run.

    Raises
    ------
    InputError
        If the folder holds something else, a run of another number of processes, or one of
        another configuration and `override` is not given.

    Warns
    -----
    UserWarning
        If the configuration is another and `override` is given.
    """
    if folder is None:
        return None
    kept = read_checkpoint(folder)
    if kept is None:
        if (folder / LAST).exists():
            raise InputError(f"{folder} holds another training, without a checkpoint; choose another folder.")
        return None
    if kept["configuration"]["processes"] != now["processes"]:
        raise InputError(
            f"{folder} holds a training by {kept['configuration']['processes']} processes, now there are "
            f"{now['processes']}: each keeps draws and state of its own. Start as many, or choose another folder."
        )
    changed = differences(kept["configuration"], now)
    if not changed:
        return kept
    listed = "\n  ".join(changed)
    if not override:
        raise InputError(
            f"{folder} holds another training, with another configuration (begun -> now):\n  {listed}\n"
            "Choose another folder, or go on all the same with override (--override)."
        )
    warnings.warn(f"going on with another configuration (begun -> now):\n  {listed}", stacklevel=4)
    return kept
