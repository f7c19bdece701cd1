"""The log of a training: one line of JSON every few steps, and TensorBoard on request."""

import json
from pathlib import Path
from typing import Any

from epsball.errors import InputError, MissingExtra
from epsball.files import write_atomically
from epsball.results import jsonable

STEPS = "steps.jsonl"


class Log:
    """Appends to ``steps.jsonl`` in a run's folder; without a folder it writes nothing.

    Parameters
    ----------
    folder
        The run's folder, or None.
    begin
        Steps done when the log is opened; lines of later steps, left by a killed run, are dropped.
    tensorboard
        Whether scalars are also written to ``tensorboard/``.

    Raises
    ------
    MissingExtra
        If TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path | None, begin: int, tensorboard: bool) -> None:
        self._path = None if folder is None else folder / STEPS
        self._board = None
        if folder is None or self._path is None:
            return
        _keep(self._path, begin)
        if tensorboard:
            self._board = _board(folder / "tensorboard", begin)

    def write(self, step: int, numbers: dict[str, Any]) -> None:
        """Record numbers after `step` steps."""
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **jsonable(numbers)}) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}. Free space and start again.") from error
        if self._board is not None:
            for name, value in numbers.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush what TensorBoard still holds."""
        if self._board is not None:
            self._board.close()


def _keep(path: Path, begin: int) -> None:
    """Rewrite the log with its complete lines up to step `begin`."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() and begin else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= begin]
    write_atomically(path, "".join(line + "\n" for line in kept).encode())


def _board(folder: Path, begin: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", "tensorboard", "the TensorBoard log") from error
    return SummaryWriter(str(folder), purge_step=begin + 1)
