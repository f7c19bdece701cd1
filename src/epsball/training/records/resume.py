"""Resuming a run: its configuration must be that of the checkpoint, unless the change is wanted."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epsball.errors import InputError
from epsball.training.records.artifacts import LAST
from epsball.training.records.checkpoint import read_checkpoint


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one line ``key: then -> now`` for each entry that differs; nested entries have dotted keys."""
    a, b = _flat(then), _flat(now)
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
    """Return the checkpoint to resume from, or None for a new run.

    Raises
    ------
    InputError
        If the folder holds something else, a run of another number of processes, or, without
        `override`, one of another configuration.

    Warns
    -----
    UserWarning
        If the configuration differs and `override` is given.
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
            f"{now['processes']}: each keeps its own draws and state. Start as many, or choose another folder."
        )
    changed = differences(kept["configuration"], now)
    if not changed:
        return kept
    listed = "\n  ".join(changed)
    if not override:
        raise InputError(
            f"{folder} holds another training, with another configuration (then -> now):\n  {listed}\n"
            "Choose another folder, or resume all the same with override (--override)."
        )
    warnings.warn(f"resuming with another configuration (then -> now):\n  {listed}", stacklevel=4)
    return kept
