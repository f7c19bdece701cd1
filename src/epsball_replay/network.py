"""The network a certificate is about, read from its model file; everything read is checked before it is used."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epsball_replay.kinds import LENGTHS, fault

Array = np.ndarray[Any, Any]

_LARGEST_FILE = 2**32
_LARGEST_VALUE = 2**27
# Products of a few such numbers neither overflow nor underflow in float64.
_LEAST, _GREATEST = 1e-100, 1e100


class ReplayError(Exception):
    """The certificate or its model cannot be read, or is of a kind that this checker does not replay.

    Examples
    --------
    >>> require(2 > 3, "two is not above three.")
    Traceback (most recent call last):
        ...
    epsball_replay.network.ReplayError: two is not above three.
    """


def require(true: object, message: str) -> None:
    """Raise a ReplayError with the message unless something is true."""
    if not true:
        raise ReplayError(message)


@dataclass(frozen=True)
class Node:
    """One step of the network: a kind with attributes, the nodes it takes, the shape of one value."""

    name: str
    kind: str
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of entries of one value."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Network:
    """Nodes in an order of computation, which of them the input and the logits are, parameters, the hash of all."""

    nodes: dict[str, Node]
    input: Node
    output: Node
    parameters: dict[str, Array]
    fingerprint: str

    def parameter(self, name: str | None, shape: tuple[int, ...], default: float = 0.0) -> Array:
        """Return a parameter in float64, or the default; it must have its shape, or numpy would spread it."""
        if name is None:
            return np.full(shape, default)
        found = self.parameters[name]
        require(found.shape == shape, f"parameter {name} has shape {found.shape}, not {shape}.")
        return found.astype(np.float64)


def read_network(path: Path) -> Network:
    """Read a model file: parameters as arrays, the nodes as JSON in the entry ``graph``."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        unpacked = sum(entry.file_size for entry in archive.zip.infolist())
        require(unpacked <= _LARGEST_FILE, f"the model file {path.name} unpacks to more than {_LARGEST_FILE} bytes.")
        entries = [entry.filename for entry in archive.zip.infolist()]
        distinct = len(set(archive.files)) == len(entries) and all(name.endswith(".npy") for name in entries)
        require(distinct, f"the model file {path.name} names an entry twice, or has others than arrays.")
        arrays = {name: archive[name] for name in archive.files}
    described = json.loads(arrays.pop("graph").tobytes(), object_pairs_hook=distinct_fields)
    nodes: dict[str, Node] = {}
    for name, kind, attributes, inputs, shape in described["nodes"]:
        require(type(name) is str and name not in nodes, f"the model names a node {name!r}, or names it twice.")
        require(nodes.keys() >= set(inputs), f"node {name} of the model is out of order.")
        wrong = fault(kind, attributes, inputs)
        require(wrong is None, f"node {name} {wrong}.")
        require(LENGTHS(shape) and math.prod(shape) <= _LARGEST_VALUE, f"node {name} cannot have the shape {shape}.")
        nodes[name] = Node(name, kind, attributes, tuple(inputs), tuple(shape))
    named = {given for node in nodes.values() for given in node.attributes.values() if type(given) is str}
    for name, array in arrays.items():
        # Nor could a hash be that of two files of which one holds a parameter of any name.
        require(name in named, f"no node of the model has the parameter {name}.")
        require(array.dtype in (np.float32, np.float64), f"parameter {name} is {array.dtype}, not float32 or float64.")
        size = np.abs(array.astype(np.float64))
        known = (size == 0) | ((size >= _LEAST) & (size <= _GREATEST))
        require(known.all(), f"parameter {name} has entries beyond [{_LEAST}, {_GREATEST}], which are not replayed.")
    sources = [node for node in nodes.values() if node.kind == "Input"]
    require(len(sources) == 1, f"the model has {len(sources)} inputs; a certificate is about networks of one.")
    output = nodes[described["output"]]
    require(len(output.shape) == 1, "the output must be a vector.")
    # Or the hash of this name and of the first parameter's could be that of two other names.
    require(" " not in output.name, f"the output {output.name!r} has a name with a space, which is not replayed.")
    return Network(nodes, sources[0], output, arrays, _fingerprint(described, arrays))


def distinct_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of an object of JSON, none of them named twice."""
    require(len(dict(pairs)) == len(pairs), "the file names a field twice.")
    return dict(pairs)


def _fingerprint(described: dict[str, Any], arrays: dict[str, Array]) -> str:
    """Return the hash by which a network is known, over all that its model file says of it.

    It is the SHA-256 of, one after the other: each node as JSON with sorted keys; the output's name; and for each
    parameter in the order of names ``NAME torch.DTYPE SHAPE `` and its bytes.
    """
    digest = hashlib.sha256()
    for node in described["nodes"]:
        digest.update(json.dumps(node, sort_keys=True).encode())
    digest.update(described["output"].encode())
    for name in sorted(arrays):
        digest.update(f"{name} torch.{arrays[name].dtype} {arrays[name].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
