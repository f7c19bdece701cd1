"""``idx:DIR``: the files of MNIST and its relatives (LeCun, Cortes and Burges, 1998).

A file begins with two zero bytes, a type byte (0x08: unsigned bytes) and the number of
dimensions, then gives each dimension as a big-endian 32-bit integer, then the bytes.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from epsball.data.arrays import dataset_of
from epsball.data.dataset import Dataset
from epsball.errors import InputError, lookup

_PREFIX = {"train": "train", "test": "t10k"}
_BLOCK = 1 << 20


def open_idx(path: str, *, split: str) -> Dataset:
    """Return one part of a folder of idx files: uint8 (n, 1, h, w), mapped unless compressed."""
    folder = Path(path).expanduser()
    prefix = lookup(_PREFIX, split, "split of idx:")
    images_file = _find(folder, f"{prefix}-images", 3)
    labels_file = _find(folder, f"{prefix}-labels", 1)
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    images = images.reshape(len(images), 1, *images.shape[1:])
    return dataset_of([images], np.array(labels), where=(str(images_file), str(labels_file)), split=split)


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{dot}idx{dimensions}-ubyte{gz}" for gz in ("", ".gz") for dot in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    there = "the folder is there" if folder.is_dir() else "there is no such folder"
    raise InputError(f"no {stem} in {folder} ({there}); looked for {', '.join(names)}.")


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the uint8 array of an idx file of that many dimensions, mapped unless compressed.

    Raises
    ------
    InputError
        If the magic number is another, or the file does not hold exactly the bytes it announces.
    """
    if path.suffix != ".gz":
        with path.open("rb") as file:
            shape = _shape(file.read(4 + 4 * dimensions), path, dimensions)
            _check_size(path, path.stat().st_size - file.tell(), shape)
            if 0 in shape:
                return np.zeros(shape, np.uint8)
            return np.memmap(path, np.uint8, "r", file.tell(), shape)
    try:
        with gzip.open(path, "rb") as file:
            shape = _shape(file.read(4 + 4 * dimensions), path, dimensions)
            content = bytearray()
            while len(content) <= math.prod(shape) and (block := file.read(_BLOCK)):
                content += block
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}); fetch it again.") from error
    _check_size(path, len(content), shape)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(header: bytes, path: Path, dimensions: int) -> tuple[int, ...]:
    """Return the shape that a header announces."""
    magic = bytes([0, 0, 8, dimensions])
    if header[:4] != magic:
        hint = " It is gzip: name it .gz." if header[:2] == b"\x1f\x8b" else ""
        raise InputError(
            f"{path} begins with bytes {header[:4].hex(' ') or 'none'}; an idx file of unsigned bytes with "
            f"{dimensions} dimension{'s' * (dimensions > 1)} begins with {magic.hex(' ')}.{hint}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise InputError(f"{path} ends inside its header, after {len(header)} bytes; fetch it again.")
    return struct.unpack(f">{dimensions}I", header[4:])


def _check_size(path: Path, found: int, shape: tuple[int, ...]) -> None:
    if found != math.prod(shape):
        seen = f"holds {found}" if found < math.prod(shape) else "holds more"
        sizes = " x ".join(map(str, shape))
        raise InputError(
            f"{path} announces {sizes} = {math.prod(shape)} bytes and {seen}; it is cut off or damaged: fetch it again."
        )
