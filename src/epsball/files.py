"""Writing files so that a crash leaves either the old file or the new one, never a part."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from epsball.errors import InputError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write `content` to a temporary file beside `path`, flush it to disk and rename it to `path`.

    Raises
    ------
    InputError
        If the folder cannot be written or the disk is full; an older file at `path` stays as it was.
    """
    path = Path(path).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}. Choose a folder that is writable.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror}. Free space or choose another folder.") from error
        raise


def check_writable(path: str | Path) -> None:
    """Refuse a file that could not be written, before what it is for is computed; write nothing.

    Raises
    ------
    InputError
        If it is a folder, or its folder cannot be written or made.
    """
    path = Path(path).resolve()
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder. Give a file.")
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"cannot write {path}: {above} is not a writable folder. Choose another.")


def write_json(path: str | Path, document: Any) -> None:
    """Write a JSON document atomically, indented by two, in UTF-8."""
    write_atomically(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
