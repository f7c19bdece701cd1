"""Reading a certificate and the network it is about; everything read is checked before it is used."""

import base64
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from epsball_replay.network import Array, Network, ReplayError, finite, read_network

_LARGEST_FILE = 2**30
_RADIUS = re.compile(r"[0-9]{1,400}(/[0-9]{1,400})?")
MALFORMED = (
    *(LookupError, ValueError, TypeError, AttributeError, ArithmeticError),
    *(RecursionError, MemoryError, EOFError, zlib.error),
)
"""What reading or replaying a file that is no whole certificate can raise."""


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
    slopes: tuple[dict[str, Slopes], ...]
    final_slopes: dict[str, Slopes]


def read_certificate(path: Path) -> Certificate:
    """Read and check a certificate file and the model file beside it, which it names."""
    try:
        with gzip.open(path) as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise ReplayError(f"{path} unpacks to more than {_LARGEST_FILE} bytes.")
        return _certificate(json.loads(text, object_pairs_hook=_distinct), path.parent)
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error}.") from error
    except MALFORMED as error:
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
    predicted = _class(data["predicted"], network.classes)
    certificate = Certificate(
        network=network,
        semantics=_one_of(data["semantics"], ("real", "float32")),
        assumptions=dict(data["assumptions"]),
        norm=_one_of(data["norm"], ("linf", "l2", "l1")),
        radius=_radius(data["radius"]),
        x=_pixels(data["x"], next(node.shape for node in network.nodes if node.kind == "Input")),
        box=_box(data["box"]),
        predicted=predicted,
        claims=_claims(data["claims"], network.classes, predicted),
        refined=frozenset(name for name in data["refined"] if shapes[name]),
        slopes=tuple({name: _slopes(pair, shapes[name]) for name, pair in choice.items()} for choice in data["slopes"]),
        final_slopes={name: _slopes(pair, (-1, *shapes[name])) for name, pair in data["final_slopes"].items()},
    )
    _check(certificate)
    return certificate


def _check(certificate: Certificate) -> None:
    box, x, network = certificate.box, certificate.x, certificate.network
    if box is not None and not ((box[0] <= x) & (x <= box[1])).all():
        raise ReplayError("the ball is empty: its centre lies outside the box.")
    given = (side for slopes in certificate.final_slopes.values() for side in (slopes.lower, slopes.upper))
    if any(side is not None and len(side) not in (1, network.classes - 1) for side in given):
        raise ReplayError("the slopes of the final rows must be one set for all, or one for each row.")
    if certificate.semantics == "float32":
        for name, array in network.parameters.items():
            if array.dtype != np.float32:
                raise ReplayError(f"parameter {name} is {array.dtype}; a float32 claim is about a float32 network.")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ReplayError("the certificate names a field twice.")
    return found


def _claims(claims: dict[str, str], classes: int, predicted: int) -> dict[int, float]:
    found = {_class(j, classes): float.fromhex(claim) for j, claim in claims.items()}
    if set(found) != set(range(classes)) - {predicted} or not np.isfinite(list(found.values())).all():
        raise ReplayError("the claims must be one finite number for each class but the predicted one.")
    return found


def _radius(text: str) -> Fraction:
    """Return a radius; exponents are not read, for they may stand for numbers beyond any memory."""
    if not _RADIUS.fullmatch(text):
        raise ReplayError(f"the radius {text[:40]!r} is no fraction of whole numbers.")
    return Fraction(text)


def _pixels(values: list[str], shape: tuple[int, ...]) -> Array:
    return finite(np.array([float.fromhex(value) for value in values])).reshape(shape)


def _box(sides: list[str] | None) -> tuple[float, float] | None:
    if sides is None:
        return None
    low, high = finite(np.array([float.fromhex(side) for side in sides])).tolist()
    return low, high


def _slopes(pair: dict[str, str | None], shape: tuple[int, ...]) -> Slopes:
    below, above = pair["lower"], pair["upper"]
    if below is None:
        raise ReplayError("a node has no lower slopes.")
    return Slopes(_decoded(below).reshape(shape), None if above is None else _decoded(above).reshape(shape))


def _decoded(text: str) -> Array:
    return finite(np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8"))


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.npz", name):
        raise ReplayError(f"the model file must lie beside the certificate under a plain name, not {name!r}.")
    return name


def _class(value: object, classes: int) -> int:
    """Return the number of a class; it is written in one way, or one class could have two claims."""
    number = int(str(value))
    if str(number) != str(value) or not 0 <= number < classes:
        raise ReplayError(f"class {value} does not exist; there are {classes}.")
    return number


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ReplayError(f"{value!r} is none of {', '.join(known)}.")
    return value
