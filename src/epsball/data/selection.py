"""``first=`` and ``indices=``: which examples of a source are taken."""

import json
import re
import warnings
from pathlib import Path

import numpy as np

from epsball.data.dataset import Dataset
from epsball.errors import InputError, lookup


class IncompleteData(UserWarning):
    """A selection skips examples that the complete source has and these files lack.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", IncompleteData)  # within this block such a selection is an error
    """


def select(data: Dataset, *, first: str | None, indices: str | None) -> Dataset:
    """Return the examples that the options name.

    Parameters
    ----------
    data
        All examples of the source.
    first
        A number N: the first N examples (of those that `indices` names, where both are given).
    indices
        A file of positions in the source, in the order wanted: one integer per line, or a list in
        a ``.json`` file (``FILE.json#KEY`` for one list of an object), or a ``.npy`` array.

    Raises
    ------
    InputError
        If a position is not in the source, occurs twice or is not an integer, or there are fewer
        than N examples.
    """
    if indices is not None:
        data = data.only(_places(data, _read_positions(indices), indices))
    if first is not None:
        data = data.only(range(_count(first, len(data))))
    if indices is None:
        _warn_if_incomplete(data, whole=first is None)
    return data


def _count(first: str, available: int) -> int:
    if not (re.fullmatch("[0-9]{1,18}", first) and 1 <= int(first) <= available):
        raise InputError(f"first={first}; it must be an integer from 1 to {available}, the examples there are.")
    return int(first)


def _places(data: Dataset, wanted: list[int], file: str) -> list[int]:
    """Return the rows of the wanted positions in `data`."""
    place_of = {position: place for place, position in enumerate(data.positions.tolist())}
    absent = [position for position in wanted if position not in place_of]
    if absent:
        raise InputError(
            f"indices={file} names {len(absent)} positions that the data do not have: "
            f"{', '.join(map(str, absent[:5]))}{', ...' if len(absent) > 5 else ''}; "
            f"there are {len(place_of)}, from {min(place_of)} to {max(place_of)}. "
            "Remove them from the file, or complete the data."
        )
    seen: set[int] = set()
    for line, position in enumerate(wanted):
        if position in seen:
            raise InputError(
                f"indices={file} names position {position} twice (entries {wanted.index(position)} "
                f"and {line}, from 0); every example counts once: remove one."
            )
        seen.add(position)
    return [place_of[position] for position in wanted]


def _read_positions(indices: str) -> list[int]:
    """Return the integers of a file of positions."""
    name, key = indices.rsplit("#", 1) if ".json#" in indices else (indices, None)
    file = Path(name).expanduser()
    if not file.is_file():
        raise InputError(f"indices={indices}: there is no file {file}; check the path.")
    try:
        values = _values(file, key)
    except InputError:
        raise
    except Exception as error:  # A damaged .npy file can raise nearly anything.
        raise InputError(
            f"indices={indices} cannot be read ({error}); it must be one integer per line, "
            "a list in a .json file, or a .npy array of integers."
        ) from error
    entries = values if isinstance(values, list) else []
    integers = [entry for entry in entries if type(entry) is int]
    if not integers or len(integers) < len(entries):
        wrong = [entry for entry in entries if type(entry) is not int] or [values]
        raise InputError(
            f"indices={indices} holds {repr(wrong[0])[:40]}; "
            "it must be a list of at least one integer and of nothing else."
        )
    return integers


def _values(file: Path, key: str | None) -> object:
    if file.suffix == ".npy":
        return np.load(file, allow_pickle=False).tolist()
    if file.suffix != ".json":
        return [int(line) for line in file.read_text().split("\n") if line.strip()]
    content = json.loads(file.read_text())
    if not isinstance(content, dict):
        return content
    if key is None:
        raise InputError(f"{file} holds {len(content)} named lists; choose one with {file}#NAME: {', '.join(content)}.")
    return lookup(content, key, f"list of {file}:")


def _warn_if_incomplete(data: Dataset, *, whole: bool) -> None:
    """Warn of absent positions: all of them, or those before the last one selected."""
    last = int(data.positions.max())
    passed = [position for position in data.absent if whole or position < last]
    if passed:
        warnings.warn(
            f"the files lack {len(passed)} positions of the complete data that were asked for "
            f"({', '.join(map(str, passed[:5]))}{', ...' if len(passed) > 5 else ''}); "
            f"{len(data)} examples are used, under their official positions.",
            IncompleteData,
            stacklevel=5,
        )
