"""``npz:FILE``: images and labels in a file written by ``numpy.savez``, mapped where stored uncompressed."""

import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from epsball.data.array_names import find_pair
from epsball.data.arrays import dataset_of
from epsball.data.dataset import Dataset
from epsball.data.layout import channels_first, is_channels_last
from epsball.errors import InputError, lookup

_LOCAL_HEADER = struct.Struct("<26xHH")
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_npz(
    path: str, *, split: str, images: str | None = None, labels: str | None = None, channels: str | None = None
) -> Dataset:
    """Return the images (n, *shape) and labels (n,) of a file.

    Parameters
    ----------
    path
        The file.
    split
        The part to take where its arrays are named by parts, as in x_train and x_test.
    images, labels
        The names of the arrays; without them the usual ones are looked for.
    channels
        first or last: where images of three axes have them; without it, last is recognised by the shape
        and said in the notes. They come out first.
    """
    file = Path(path).expanduser()
    names = find_pair(array_names(file), split=split, images=images, labels=labels, where=path)
    arrays = read_npz(file, (names.images, names.labels))
    where = f"{names.images} in {path}", f"{names.labels} in {path}"
    y, label_notes = _plain_labels(np.array(arrays[names.labels]), where[1])
    data = dataset_of([arrays[names.images]], y, where=where, split=names.split)
    chosen = f"{path}: images are '{names.images}', labels '{names.labels}'."
    notes = () if (names.images, names.labels) == ("x", "y") or (images and labels) else (chosen,)
    return _channels_first(replace(data, notes=(*notes, *label_notes)), channels, where[0])


def _channels_first(data: Dataset, channels: str | None, where: str) -> Dataset:
    """Return the data with channels first, wherever they stand."""
    if channels is not None:
        lookup(dict.fromkeys(("first", "last")), channels, "place of the channels:")
    if channels == "last" and len(data.shape) != 3:
        raise InputError(f"{where} has images of shape {data.shape}; channels=last is about height, width, channels.")
    if channels == "last" or (channels is None and is_channels_last(data.shape)):
        shown = "x".join(map(str, data.shape))
        return channels_first(data, f"{where} has channels last, {shown}; they are moved first (channels=first: not).")
    return data


def _plain_labels(y: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels in one row of integers, if they are that but for a second axis of length 1 or floats."""
    notes: tuple[str, ...] = ()
    if y.ndim == 2 and y.shape[1] == 1:
        y, notes = y[:, 0], (f"{where} has shape {y.shape}; its one column is taken.",)
    if y.dtype.kind == "f" and y.size and np.array_equal(y, np.floor(y)) and np.abs(y).max() < 2**31:
        y, notes = y.astype(np.int64), (*notes, f"{where} is {y.dtype} and holds integers; they are taken as such.")
    return y, notes


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in an npz file.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    with _opened(path) as archive:
        return _names(archive)


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the named arrays of an npz file; no object is ever unpickled.

    Arrays stored uncompressed (``numpy.savez``) are mapped from the file, without a look at their
    checksum; others are read and checked.

    Raises
    ------
    InputError
        If the file is missing or damaged, lacks a name, or an array holds Python objects.
    """
    with _opened(path) as archive:
        found = _names(archive)
        missing = [name for name in names if name not in found]
        if not missing:
            return {name: _read(archive, archive.getinfo(f"{name}.npy"), path) for name in names}
    recipe = ", ".join(f"{name}=..." for name in names)
    raise InputError(
        f"{path} has no array {' and no '.join(missing)}; its arrays are {', '.join(found) or 'none'}. "
        f"Write it with np.savez(FILE, {recipe})."
    )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise InputError(f"there is no file {path}; check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except Exception as error:  # A damaged archive can raise nearly anything.
        raise InputError(f"{path} is not a whole npz file ({error}); write or fetch it again.") from error


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


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
