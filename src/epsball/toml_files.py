"""TOML files that people write: read with complaints that name the file, and the line on which a key stands."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from epsball.errors import InputError


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises
    ------
    InputError
        If it cannot be read or is not TOML; the message names file and line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give a file that is there and readable.") from error
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}. Correct that line.") from error


def line_of(text: str, keys: Sequence[str]) -> int | None:
    r"""Return the number, from 1, of the line on which a key of a TOML document stands.

    It is the first line that names the key and up to which the document has it: so tables, dotted keys, inline
    tables and quoted keys are told from comments and texts that look like them.

    Parameters
    ----------
    text
        The document.
    keys
        The tables and the key, from the outermost.

    Returns
    -------
    int or None
        None where the document has no such key, or the lines up to it are not a document.

    Examples
    --------
    >>> line_of('[gate]\n# min_robust = 0.5\nmin_robust = 0.9\n', ["gate", "min_robust"])
    3
    """
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if keys[-1] in line and _has("".join(lines[:number]), keys):
            return number
    return None


def _has(text: str, keys: Sequence[str]) -> bool:
    try:
        found: object = tomllib.loads(text)
    except ValueError:
        return False
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            return False
        found = found[key]
    return True
