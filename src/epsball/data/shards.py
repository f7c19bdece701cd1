"""The files of a data set that is stored in several: a folder, one file, or a pattern of names."""

import re
from pathlib import Path

from epsball.errors import InputError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def files_of(path: str, suffix: str, kind: str) -> list[Path]:
    """Return the files that a path names, in their order.

    Parameters
    ----------
    path
        A folder (its files of this suffix, sorted by name), a file, or a pattern with ``*``, ``?`` or
        ``{000..012}`` in its last part.
    suffix, kind
        The suffix of the files, and the kind of data, for messages.

    Raises
    ------
    InputError
        If there is none, or one of a range is missing.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.is_dir():
        found = sorted(file for file in place.glob(f"*{suffix}") if file.name[0] != ".")
        if not found:
            raise InputError(f"{place} holds no {suffix} files; give the folder that does, or {kind}:FILE.")
        return found
    span = _RANGE.search(place.name)
    if span is not None:
        return _ranged(place, span)
    found = sorted(place.parent.glob(place.name)) if place.parent.is_dir() else []
    if not found:
        raise InputError(
            f"'{kind}:{path}' names no file; PATH is a folder, a file, or a pattern: DIR/train-{{000..012}}{suffix}."
        )
    return found


def _ranged(place: Path, span: "re.Match[str]") -> list[Path]:
    """Return the files of a range of numbers, written with as many digits as its first one."""
    first, last = span.groups()
    names = [
        f"{place.name[: span.start()]}{number:0{len(first)}d}{place.name[span.end() :]}"
        for number in range(int(first), int(last) + 1)
    ]
    missing = [name for name in names if not (place.parent / name).is_file()]
    if missing or not names:
        shown = ", ".join(missing[:3]) or f"{first}..{last}"
        raise InputError(f"{place.parent} lacks {len(missing)} of the files of '{place.name}' ({shown}); fetch them.")
    return [place.parent / name for name in names]
