"""An ONNX file as a checked model, its tensors as arrays."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from epsball.errors import InputError, MissingExtra, ModelError, first_line

PURPOSE = "reading an ONNX file"


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file holds.

    Parameters
    ----------
    path
        The file.
    model
        Its content (``onnx.ModelProto``), with the data beside it and its own functions put in.
    opset
        Version of the standard operators.
    arrays
        Its initialisers by name.
    digest
        SHA-256 of its bytes and of the data files it names.
    """

    path: Path
    model: Any
    opset: int
    arrays: dict[str, np.ndarray]
    digest: str

    @property
    def graph(self) -> Any:
        """Its graph (``onnx.GraphProto``)."""
        return self.model.graph

    @property
    def input(self) -> Any:
        """The description of its one input.

        Raises
        ------
        ModelError
            If it has none, or several.
        """
        inputs = [given for given in self.graph.input if given.name not in self.arrays]
        if len(inputs) != 1:
            names = ", ".join(given.name for given in inputs) or "none"
            raise ModelError(
                f"{self.path} has {len(inputs)} inputs ({names}). A classifier maps one tensor to one tensor of "
                "logits: export it with the others fixed."
            )
        return inputs[0]


def onnx_package(name: str = "onnx") -> Any:
    """Return the package `onnx` or `onnxruntime`, or raise `MissingExtra`."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise MissingExtra("onnx", name, PURPOSE) from error
        raise


def read_file(path: Path) -> OnnxFile:
    """Read and check an ONNX file and the data files beside it.

    Raises
    ------
    MissingExtra
        If onnx is not installed.
    InputError
        If the file cannot be read, is cut off or malformed, or names data outside its folder.
    """
    onnx = onnx_package()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        model = onnx.load_model_from_string(content)
        digest = hashlib.sha256(content)
        for tensor in _tensors(model.graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                digest.update(_embed(tensor, path))
        _check(onnx, model)
        if model.functions:
            model = import_module("onnx.inliner").inline_local_functions(model)
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} is not a well-formed ONNX file ({first_line(error)}). Download or export it again."
        ) from error
    return OnnxFile(path, model, _opset(model, path), arrays, digest.hexdigest())


def _check(onnx: Any, model: Any) -> None:
    """Check a model; an output whose shape is not written, which runtimes accept, counts as one of any shape."""
    types = [given.type.tensor_type for given in model.graph.output if given.type.HasField("tensor_type")]
    open_types = [given for given in types if not given.HasField("shape")]
    for given in open_types:
        given.shape.SetInParent()
    onnx.checker.check_model(model)
    for given in open_types:
        given.ClearField("shape")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _embed(tensor: Any, path: Path) -> bytes:
    """Read a tensor's bytes from its data file, which must lie in the folder of the model, into the tensor."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.resolve().parent
    data = (folder / entries.get("location", "")).resolve()
    if not data.is_relative_to(folder):
        raise InputError(f"{path} takes the tensor {tensor.name!r} from outside its folder. Do not trust this file.")
    if not data.is_file():
        raise InputError(f"{path} takes the tensor {tensor.name!r} from {data.name}, which is not beside it.")
    offset = int(entries.get("offset", 0))
    length = int(entries.get("length", data.stat().st_size - offset))
    if offset < 0 or length < 0 or offset + length > data.stat().st_size:
        raise InputError(f"{data} is cut off: {path.name} takes {length} bytes from {offset} on. Download it again.")
    with data.open("rb") as file:
        file.seek(offset)
        content = file.read(length)
    tensor.raw_data = content
    tensor.data_location = 0
    del tensor.external_data[:]
    return content


def _opset(model: Any, path: Path) -> int:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 7 if versions else 1))
    if version < 7:
        raise InputError(f"{path} uses operator set {version}; sets from 7 on are read. Convert the file.")
    return version
