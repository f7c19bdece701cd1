"""The network a certificate is about, read from its model file; everything read is checked before it is used."""

import hashlib
import json
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, struct.error)
_LARGEST_FILE = 2**32
_LARGEST_VALUE = 2**27
# Products of a few such numbers neither overflow nor underflow in float64.
_LEAST, _GREATEST = 1e-100, 1e100
_INPUTS: dict[str, int | None] = {
    **dict.fromkeys(("Input", "Constant"), 0),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Divide"), 2),
    **dict.fromkeys(("Linear", "Convolution", "BatchNorm", "Elementwise", "PReLU", "MaxPool", "Max"), 1),
    **dict.fromkeys(("AveragePool", "AdaptiveAveragePool", "Sum", "Mean"), 1),
    **dict.fromkeys(("Reshape", "Permute", "Expand", "Slice", "Gather", "Pad"), 1),
    "Concatenate": None,
}
"""The known kinds, and how many inputs each takes; None is one or more."""
_WHOLE = {"kernel": 1, "stride": 1, "dilation": 1, "padding": 0, "groups": 1, "axis": 0, "axes": 0, "output_padding": 0}
"""The least of the whole numbers that an attribute may hold, one or a list of them."""


class ReplayError(Exception):
    """The certificate or its model cannot be read, or is of a kind this checker does not replay."""


@dataclass(frozen=True)
class Node:
    """One step of the network: a kind with attributes, the nodes it takes, the shape of one value."""

    name: str
    kind: str
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """Nodes in an order of computation, their parameters, and the hash of both."""

    nodes: tuple[Node, ...]
    output: str
    parameters: dict[str, Array]
    fingerprint: str

    @property
    def classes(self) -> int:
        """The number of logits."""
        return next(node.shape[0] for node in self.nodes if node.name == self.output)


def read_network(path: Path) -> Network:
    """Read a model file: parameters as arrays, the nodes as JSON in the entry ``graph``."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_FILE:
                raise ReplayError(f"the model file {path.name} unpacks to more than {_LARGEST_FILE} bytes.")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, SyntaxError, RuntimeError, *_BROKEN_ARCHIVE) as error:
        raise ReplayError(f"the model file {path.name} cannot be read: {error}.") from error
    described = json.loads(arrays.pop("graph").tobytes().decode())
    nodes = tuple(_node(*entry) for entry in described["nodes"])
    _check_order(nodes)
    for name, array in arrays.items():
        _check_parameter(name, array)
    output = described["output"]
    if not any(node.name == output and len(node.shape) == 1 and node.shape[0] >= 2 for node in nodes):
        raise ReplayError(f"the output of the model, {output!r}, must be a node with a vector of at least two logits.")
    return Network(nodes, output, arrays, _fingerprint(described, arrays))


def finite(array: Array) -> Array:
    """Return the array; raise unless all of it is finite."""
    if not np.isfinite(array).all():
        raise ReplayError("the file holds numbers that are not finite.")
    return array


def _node(name: object, kind: object, attributes: object, inputs: object, shape: object) -> Node:
    if not isinstance(name, str) or not isinstance(kind, str) or not isinstance(attributes, dict):
        raise ReplayError(f"node {name!r} of the model is no name, kind and attributes.")
    if not isinstance(inputs, list) or not all(isinstance(taken, str) for taken in inputs):
        raise ReplayError(f"the inputs of node {name} of the model are no list of names.")
    if kind not in _INPUTS:
        raise ReplayError(f"node {name} of the model is a {kind}, which is not replayed.")
    wanted = _INPUTS[kind]
    if len(inputs) != wanted and (wanted is not None or not inputs):
        raise ReplayError(f"node {name} of the model is a {kind} of {len(inputs)} inputs.")
    if not isinstance(shape, list) or not all(_whole(length, 1) for length in shape):
        raise ReplayError(f"node {name} of the model has the shape {shape!r}.")
    if math.prod(shape) > _LARGEST_VALUE:
        raise ReplayError(f"node {name} of the model has more than {_LARGEST_VALUE} entries.")
    for key in _WHOLE.keys() & attributes.keys():
        given = attributes[key]
        if not all(_whole(number, _WHOLE[key]) for number in (given if isinstance(given, list) else [given])):
            raise ReplayError(f"node {name} of the model has {key} {given!r}.")
    return Node(name, kind, attributes, tuple(inputs), tuple(shape))


def _whole(number: object, least: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= least


def _check_order(nodes: tuple[Node, ...]) -> None:
    known: set[str] = set()
    for node in nodes:
        if node.name in known or not known.issuperset(node.inputs):
            raise ReplayError(f"node {node.name} of the model is out of order.")
        known.add(node.name)
    if [node.kind for node in nodes].count("Input") != 1:
        raise ReplayError("the model must have exactly one input.")


def _check_parameter(name: str, array: Array) -> None:
    if array.dtype not in (np.float32, np.float64):
        raise ReplayError(f"parameter {name} is {array.dtype}; parameters are float32 or float64.")
    size = np.abs(finite(array)).astype(np.float64)
    if (size > _GREATEST).any() or ((size > 0) & (size < _LEAST)).any():
        raise ReplayError(f"parameter {name} has entries beyond [{_LEAST}, {_GREATEST}], which are not replayed.")


def _fingerprint(described: dict[str, Any], arrays: dict[str, Array]) -> str:
    digest = hashlib.sha256()
    for node in described["nodes"]:
        digest.update(json.dumps(node, sort_keys=True).encode())
    digest.update(described["output"].encode())
    for name in sorted(arrays):
        digest.update(f"{name} torch.{arrays[name].dtype} {arrays[name].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
