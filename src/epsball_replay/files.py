"""Reading a certificate and the network it is about; everything read is checked before it is used."""

import base64
import gzip
import hashlib
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


_MALFORMED = (LookupError, ValueError, TypeError, AttributeError, RecursionError, OverflowError, EOFError, zlib.error)


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


@dataclass(frozen=True)
class Slopes:
    """Slopes of the lower and the upper line of each entry of a node; for final rows, one set for all or one a row.

    Without slopes the upper line is the chord.
    """

    lower: Array
    upper: Array | None


@dataclass(frozen=True)
class Certificate:
    """A claim: on every point of the ball about x and in the box, z_p - z_j >= claims[j] for every class j."""

    network: Network
    semantics: str
    assumptions: dict[str, Any]
    norm: str
    radius: Fraction
    x: Array
    box: tuple[float, float] | None
    predicted: int
    claims: dict[int, float]
    refined: frozenset[str]
    slopes: dict[str, Slopes]
    final_slopes: dict[str, Slopes]


def read_certificate(path: Path) -> Certificate:
    """Read and check a certificate file and the model file beside it, which it names."""
    try:
        data = json.loads(gzip.decompress(path.read_bytes()))
        return _certificate(data, path.parent)
    except ReplayError:
        raise
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error}.") from error
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        RecursionError,
        OverflowError,
        EOFError,
        zlib.error,
    ) as error:
        raise ReplayError(f"{path} is no whole certificate ({type(error).__name__}: {error}).") from error


def _certificate(data: dict[str, Any], folder: Path) -> Certificate:
    if data["format"] != "epsball-certificate" or data["version"] != 1:
        raise ReplayError(f"the file says format {data['format']!r}, version {data['version']!r}; known is version 1.")
    network = read_network(folder / _plain_name(data["model"]["file"]))
    if network.fingerprint != data["model"]["fingerprint"]:
        raise ReplayError(
            f"the certificate is about model {data['model']['fingerprint']}, the file holds {network.fingerprint}."
        )
    shapes = {node.name: node.shape for node in network.nodes}
    classes = shapes[network.output][0]
    predicted = _integer(data["predicted"], classes)
    claims = {_integer(j, classes): float.fromhex(claim) for j, claim in data["claims"].items()}
    if set(claims) != set(range(classes)) - {predicted} or not np.isfinite(list(claims.values())).all():
        raise ReplayError("the claims must be one finite number for each class but the predicted one.")
    x = np.array([float.fromhex(value) for value in data["x"]])
    box = None if data["box"] is None else (float.fromhex(data["box"][0]), float.fromhex(data["box"][1]))
    certificate = Certificate(
        network=network,
        semantics=_one_of(data["semantics"], ("real", "float32")),
        assumptions=dict(data["assumptions"]),
        norm=_one_of(data["norm"], ("linf", "l2", "l1")),
        radius=Fraction(data["radius"]),
        x=_finite(x).reshape(next(node.shape for node in network.nodes if node.kind == "Input")),
        box=box,
        predicted=predicted,
        claims=claims,
        refined=frozenset(name for name in data["refined"] if shapes[name]),
        slopes={name: _slopes(pair, shapes[name]) for name, pair in data["slopes"].items()},
        final_slopes={name: _slopes(pair, (-1, *shapes[name])) for name, pair in data["final_slopes"].items()},
    )
    if certificate.radius < 0 or (box is not None and not ((box[0] <= x) & (x <= box[1])).all()):
        raise ReplayError("the ball is empty: the radius is negative or its centre lies outside the box.")
    return certificate


def read_network(path: Path) -> Network:
    """Read a model file: parameters as arrays, the nodes as JSON in the entry ``graph``."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ReplayError(f"the model file {path.name} cannot be read: {error}.") from error
    described = json.loads(arrays.pop("graph").tobytes().decode())
    nodes = tuple(
        Node(name, kind, attributes, tuple(inputs), tuple(shape))
        for name, kind, attributes, inputs, shape in described["nodes"]
    )
    known: set[str] = set()
    for node in nodes:
        if node.name in known or not known.issuperset(node.inputs):
            raise ReplayError(f"node {node.name} of the model is out of order.")
        known.add(node.name)
    if [node.kind for node in nodes].count("Input") != 1:
        raise ReplayError("the model must have exactly one input.")
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.float64):
            raise ReplayError(f"parameter {name} is {array.dtype}; parameters are float32 or float64.")
        _finite(array)
    return Network(nodes, described["output"], arrays, _fingerprint(described, arrays))


def _fingerprint(described: dict[str, Any], arrays: dict[str, Array]) -> str:
    digest = hashlib.sha256()
    for node in described["nodes"]:
        digest.update(json.dumps(node, sort_keys=True).encode())
    digest.update(described["output"].encode())
    for name in sorted(arrays):
        digest.update(f"{name} torch.{arrays[name].dtype} {arrays[name].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _slopes(pair: dict[str, str | None], shape: tuple[int, ...]) -> Slopes:
    below, above = pair["lower"], pair["upper"]
    return Slopes(_decoded(str(below)).reshape(shape), None if above is None else _decoded(above).reshape(shape))


def _decoded(text: str) -> Array:
    return _finite(np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8"))


def _finite(array: Array) -> Array:
    if not np.isfinite(array).all():
        raise ReplayError("the file holds numbers that are not finite.")
    return array


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.npz", name):
        raise ReplayError(f"the model file must lie beside the certificate under a plain name, not {name!r}.")
    return name


def _integer(value: object, below: int) -> int:
    number = int(str(value))
    if not 0 <= number < below:
        raise ReplayError(f"class {number} does not exist; there are {below}.")
    return number


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ReplayError(f"{value!r} is none of {', '.join(known)}.")
    return value
