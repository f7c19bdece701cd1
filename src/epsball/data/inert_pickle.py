"""Arrays from a pickle without running anything that the pickle asks for.

A pickle is a program: it may name any callable and call it. Here every name resolves to one
inert record, which keeps what it was called with and does nothing, and only the names by which
numpy stores plain arrays resolve at all. What the records say is then checked and read as bytes.
"""

import io
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from epsball.errors import InputError

_PLAIN = re.compile(r"[|<>=]?[iu][1248]")
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")
_ADMITTED = {
    *((module, "_reconstruct") for module in _MODULES),
    *((module, "_frombuffer") for module in _BUFFERS),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Record:
    """What a pickle wanted to make: the arguments and the state, and nothing done with them."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """An unpickler for which every admitted name is `_Record` and every other is refused."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _Record


def read_pickle(path: Path) -> dict[str, Any]:
    """Return the dictionary pickled in a file; lists, texts and numbers as they are, arrays as records.

    Python 2's texts are read as Latin-1, keys that are bytes become texts.

    Raises
    ------
    InputError
        If the file is damaged, is not a dictionary, or names anything but a plain numpy array.
    """
    try:
        content = _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        named = {_text(key): value for key, value in content.items()} if isinstance(content, dict) else None
    except Exception as error:
        raise InputError(
            f"{path} is not a pickle of plain arrays ({error}); nothing in it was run. "
            "Get the file from its official source."
        ) from error
    if named is None:
        raise InputError(f"{path} holds a {type(content).__name__}; a dictionary of arrays is expected.")
    return named


def array_of(record: Any, where: str) -> np.ndarray:
    """Return the integer array that a record (or a list of integers) describes.

    Raises
    ------
    InputError
        If the record does not describe a plain array of integers, or another number of bytes.
    """
    try:
        if isinstance(record, list) and all(type(value) is int for value in record):
            return np.array(record, dtype=np.int64)
        shape, dtype, order, content = _described(record)
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError(f"its {len(content)} bytes are not {shape} of {dtype}")
        return np.frombuffer(content, dtype).reshape(shape, order=order)
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"{where} is not a plain array of integers ({error}); get the file from its official source."
        ) from error


def _described(record: Any) -> tuple[tuple[int, ...], np.dtype, Any, bytes]:
    """Return shape, type, order and bytes of an array's record.

    ``ndarray.__setstate__`` takes (version, shape, dtype, is Fortran, bytes); protocol 5 calls
    ``_frombuffer(bytes, dtype, shape, order)`` instead.
    """
    if record.state is None:
        content, dtype, shape, order = record.arguments
    else:
        _, shape, dtype, fortran, content = record.state
        order = "F" if fortran else "C"
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"its shape is {shape}")
    code, byte_order = dtype.arguments[0], dtype.state[1]
    if not _PLAIN.fullmatch(code) or byte_order not in "|<>=":
        raise ValueError(f"its type is {code!r}")
    return tuple(shape), np.dtype(code).newbyteorder(byte_order), order, _bytes(content)


def _bytes(content: Any) -> bytes:
    """Return the bytes of a stored buffer: Python 2 stores a text, protocol 2 of Python 3 an encoding."""
    if isinstance(content, _Record):
        text, encoding = content.arguments
        if encoding != "latin1":
            raise ValueError(f"its bytes are encoded as {encoding!r}")
        content = text
    if isinstance(content, str):
        return content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise TypeError(f"its bytes are of type {type(content).__name__}")
    return bytes(content)


def _text(key: Any) -> str:
    """Return a key as text, whether it was stored as text or as bytes."""
    return _bytes(key).decode("latin1") if isinstance(key, bytes | _Record) else str(key)
