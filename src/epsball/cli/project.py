"""The files of a project that commands find by themselves: in the working directory, or the nearest one above it."""

from collections.abc import Callable
from pathlib import Path


def found_above(*names: str, wanted: Callable[[Path], bool] = Path.is_file) -> Path | None:
    """Return the nearest file of one of these names in the working directory or above it; None if there is none.

    Parameters
    ----------
    names
        The names; in one directory the first that is there wins.
    wanted
        Whether a file of such a name counts.
    """
    here = Path.cwd()
    files = (directory / name for directory in (here, *here.parents) for name in names)
    return next(filter(wanted, files), None)


def shown(file: Path) -> str:
    """Return a file's path as short as it can be written from the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
