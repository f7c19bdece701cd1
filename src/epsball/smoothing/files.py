"""The folder of a smoothing: what is smoothed, and one file per group of examples, so that it goes on after a kill."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epsball.classifier.probe import same_probe
from epsball.errors import InputError
from epsball.files import write_json
from epsball.smoothing.rows import Rows

_RECORD, _PROBE = "smoothing.json", "probe"


class SmoothingFolder:
    """A folder with ``smoothing.json`` and ``votes-NNNNNN.json`` for the group that starts at example N.

    Parameters
    ----------
    path
        The folder; made if absent.
    description
        What is smoothed, and how. A folder that holds another smoothing is refused.
    probe
        Outputs of the base classifier, which change with its code.

    Raises
    ------
    InputError
        If the folder holds another smoothing, naming what differs, or something else.
    """

    def __init__(self, path: str | Path, description: dict[str, Any], *, probe: Sequence[float | None]) -> None:
        self._path = Path(path)
        record = self._path / _RECORD
        if record.exists():
            _require_same(record, description, probe)
        elif self._path.is_dir() and any(not file.name.startswith(".") for file in self._path.iterdir()):
            raise InputError(f"{self._path} is not empty and does not hold a smoothing; choose another folder.")
        else:
            write_json(record, description | {_PROBE: list(probe)})

    def _file(self, start: int) -> Path:
        return self._path / f"votes-{start:06d}.json"

    def load(self, start: int) -> Rows | None:
        """Return the group that starts at an example, or None if it is not finished."""
        file = self._file(start)
        if not file.exists():
            return None
        try:
            columns = json.loads(file.read_text())
            return Rows(**{name: np.array(values, dtype=Rows.dtypes()[name]) for name, values in columns.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} cannot be read ({error}); delete it to sample its examples again.") from error

    def store(self, start: int, rows: Rows) -> None:
        """Write a finished group."""
        write_json(self._file(start), {name: values.tolist() for name, values in rows.columns().items()})


def _require_same(record: Path, description: dict[str, Any], probe: Sequence[float | None]) -> None:
    try:
        earlier = dict(json.loads(record.read_text()))
        before = list(earlier.pop(_PROBE))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record} cannot be read ({error}); choose another folder.") from error
    different = [
        f"{name}: there {earlier.get(name)!r}, now {description.get(name)!r}"
        for name in {**earlier, **description}
        if earlier.get(name) != description.get(name)
    ]
    if not different and not same_probe(before, probe):
        different = ["the model's code: its first logits differ, though its weights are the same"]
    if different:
        raise InputError(
            f"{record.parent} holds another smoothing ({'; '.join(different)}). Choose another folder, or delete it."
        )
