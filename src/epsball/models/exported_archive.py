"""Reading the archive of ``torch.export.save`` as data: a graph in JSON, and tensors as raw bytes.

``torch.export.load`` is not used on files from anywhere: it unpickles payloads with
``weights_only=False``, evaluates symbolic expressions with sympy, looks operators up by any
dotted name and compiles names and guards in the file as Python. Here JSON is
parsed, bytes become tensors, and whatever needs more is refused.
"""

import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from epsball.errors import InputError
from epsball.models.checkpoint import read_torch
from epsball.models.file_kind import archive_members, file_kind

_FIX = "Save it with torch.export.save of PyTorch 2.8 or newer, from a program of plain tensors."
_MAJOR = 8
_READ = ("models/", "data/weights/", "data/constants/")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
# torch._export.serde.schema.ScalarType
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}


@dataclass(frozen=True, kw_only=True)
class ExportedArchive:
    """The content of a ``.pt2`` file.

    Attributes
    ----------
    program
        The exported program in PyTorch's JSON schema, major version 8.
    tensors
        Parameters, buffers and constants by name.
    """

    program: dict[str, Any]
    tensors: dict[str, Tensor]


def read_exported_archive(path: Path) -> ExportedArchive:
    """Read a ``.pt2`` file without running anything in it.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another version, or holds pickled objects or
        compiled code.
    """
    if file_kind(path) != "zip":
        raise InputError(f"{path} is not an archive of torch.export.save. {_FIX}")
    names = {name.partition("/")[2]: name for name in archive_members(path)}
    for name in names:
        if name.startswith(("data/aotinductor/", "executorch/", "data/mtia")):
            raise InputError(f"{path} holds compiled code ({name}), which is not run. {_FIX}")
    if "models/model.json" not in names:
        raise InputError(f"{path} has no models/model.json. {_FIX}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {short: archive.read(name) for short, name in names.items() if short.startswith(_READ)}
        program = json.loads(members["models/model.json"])
        if program["schema_version"]["major"] != _MAJOR:
            raise InputError(f"its schema has version {program['schema_version']}, known is {_MAJOR}.")
        tensors = _tensors(members, "data/weights/") | _tensors(members, "data/constants/")
    except InputError as error:
        raise InputError(f"{path}: {error} {_FIX}") from error
    except Exception as error:
        # The bytes are anyone's: whatever they make the readers trip over, the file is at fault.
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}). {_FIX}") from error
    return ExportedArchive(program=program, tensors=tensors)


def _tensors(members: dict[str, bytes], folder: str) -> dict[str, Tensor]:
    """Return the tensors of one folder: listed in a JSON, or all in one file of ``torch.save``."""
    together = members.get(f"{folder}model.pt")
    if together is not None:
        return _checked(read_torch(io.BytesIO(together), f"{folder}model.pt"))
    (listing,) = (name for name in members if name.startswith(folder) and name.endswith("_config.json"))
    config = json.loads(members[listing])["config"]
    flat: dict[str, Tensor] = {}
    tensors = {}
    for name, payload in config.items():
        file, meta = payload["path_name"], payload["tensor_meta"]
        if payload["use_pickle"] or meta is None:
            raise InputError(f"'{name}' is a pickled object, which could run code.")
        if file not in flat:
            flat[file] = _flat(members[folder + file], meta)
        tensors[name] = _strided(flat[file], meta, payload["is_param"])
    return _checked(tensors)


def _flat(content: bytes, meta: dict[str, Any]) -> Tensor:
    dtype = DTYPES[meta["dtype"]]
    return torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.zeros(0, dtype=dtype)


def _strided(flat: Tensor, meta: dict[str, Any], is_parameter: bool) -> Tensor:
    """View the stored numbers in the shape they had; tensors that shared storage share it again."""
    size = [length["as_int"] for length in meta["sizes"]]
    stride = [step["as_int"] for step in meta["strides"]]
    view = flat.as_strided(size, stride, meta["storage_offset"]["as_int"])
    trained = meta["requires_grad"] and view.is_floating_point()
    return nn.Parameter(view, requires_grad=trained) if is_parameter else view


def _checked(tensors: Any) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if not _SAFE_NAME.fullmatch(name) or not isinstance(tensor, Tensor):
            raise InputError(f"{name!r} is not the name of a tensor.")
    return tensors
