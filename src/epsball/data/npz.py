"""``npz:FILE``: arrays x and y in a file written by ``numpy.savez``, mapped where stored uncompressed."""

import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from epsball.data.arrays import dataset_of
from epsball.data.dataset import Dataset
from epsball.errors import InputError

_LOCAL_HEADER = struct.Struct("<26xHH")
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_npz(path: str) -> Dataset:
    """Return the arrays x (n, *shape) and y (n,) of a file."""
    arrays = read_npz(Path(path).expanduser(), ("x", "y"))
    return dataset_of([arrays["x"]], np.array(arrays["y"]), where=(f"x in {path}", f"y in {path}"))


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the named arrays of an npz file; no object is ever unpickled.

    Arrays stored uncompressed (``numpy.savez``) are mapped from the file, without a look at their
    checksum; others are read and checked.

    Raises
    ------
    InputError
        If the file is missing or damaged, lacks a name, or an array holds Python objects.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            missing = [name for name in names if name not in found]
            if not missing:
                return {name: _read(archive, archive.getinfo(f"{name}.npy"), path) for name in names}
    except InputError:
        raise
    except Exception as error:  # A damaged archive can raise nearly anything.
        raise InputError(f"{path} is not a whole npz file ({error}); write or fetch it again.") from error
    recipe = ", ".join(f"{name}=..." for name in names)
    raise InputError(
        f"{path} has no array {' and no '.join(missing)}; its arrays are {', '.join(found) or 'none'}. "
        f"Write it with np.savez(FILE, {recipe})."
    )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    try:
        with archive.open(info) as member:
            shape, fortran, dtype = _header(member)
            order = "F" if fortran else "C"
            if dtype.hasobject:
                raise ValueError("it holds Python objects, which are never unpickled")
            if math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
                raise ValueError(f"its {info.file_size - member.tell()} bytes are not {shape} of {dtype}")
            if info.compress_type == zipfile.ZIP_STORED and math.prod(shape):
                return np.memmap(path, dtype, "r", _offset(path, info) + member.tell(), shape, order)
            return np.frombuffer(member.read(), dtype).reshape(shape, order=order)
    except Exception as error:  # So can a damaged array.
        raise InputError(f"array {info.filename} in {path} cannot be read: {error}. Write it again.") from error


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an array and return its shape, whether it is in Fortran order, and its type."""
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"its format version is {version}; known: 1.0 and 2.0")
    return _HEADERS[version](member)


def _offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a stored member's bytes begin in the file."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return info.header_offset + _LOCAL_HEADER.size + name + extra
