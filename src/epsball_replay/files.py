"""Reading a certificate and the network it is about; everything read is checked before it is used."""

import base64
import gzip
import json
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from epsball_replay.network import Array, Network, distinct_fields, read_network, require

_LARGEST_FILE = 2**30
_MODEL = re.compile(r"model-[0-9a-f]{16}\.npz")
_HASH = re.compile(r"[0-9a-f]{16,64}")
# No exponents, which may stand for numbers beyond any memory.
_RADIUS = re.compile(r"[0-9]{1,400}(/[0-9]{1,400})?")

Slopes = dict[str, tuple[Array | None, Array | None]]
"""By node, slopes of the lines below and above it, (rows, entries) or (1, entries); None is the chord's."""


@dataclass(frozen=True)
class Certificate:
    """A claim: on every point of the ball about x and in the box, z_p - z_j >= claims[j] for every class j."""

    network: Network
    semantics: str
    assumptions: dict[str, Any]
    norm: str
    radius: Fraction
    x: Array
    box: tuple[float, float]
    predicted: int
    claims: dict[int, float]
    refined: frozenset[str]
    slopes: list[Slopes]
    own_slopes: list[tuple[str, Array, dict[str, tuple[Array, Array]]]]
    """A node, k entries, and for their 2 k rows (lower bounds first) by node places and the slopes there, (2 k, m)."""
    final_slopes: Slopes
    trees: dict[int, Any]
    """By class those margins that are proved by a tree, as the file has it."""


def read_certificate(path: Path, model_hash: str | None = None) -> Certificate:
    """Read and check a certificate file and the model file beside it, which it names and which may be required."""
    with gzip.open(path) as file:
        text = file.read(_LARGEST_FILE + 1)
    require(len(text) <= _LARGEST_FILE, f"{path} unpacks to more than {_LARGEST_FILE} bytes.")
    data = json.loads(text, object_pairs_hook=distinct_fields)
    version, model = (data["format"], data["version"]), data["model"]
    trees = data["trees"] if version == ("epsball-certificate", 2) else {}
    known = trees or version == ("epsball-certificate", 1)
    require(known, f"the file is of format {version}; known are version 1, and 2 with trees.")
    name = model["file"]
    beside = type(name) is str and _MODEL.fullmatch(name)
    require(beside, f"the model must lie beside the certificate as model-HASH.npz, not as {name!r}.")
    network = read_network(path.parent / name)
    _check_model(network.fingerprint, name, model["fingerprint"], model_hash)
    certificate = Certificate(
        network=network,
        **{name: data[name] for name in ("semantics", "assumptions", "norm")},
        radius=_radius(data["radius"]),
        x=_floats(data["x"], network.input.size),
        box=(-np.inf, np.inf) if data["box"] is None else (*_floats(data["box"], 2).tolist(),),  # pyright: ignore[reportArgumentType]
        predicted=_class(data["predicted"], network),
        claims={_class(j, network): float(_floats([claim], 1)[0]) for j, claim in data["claims"].items()},
        refined=frozenset(data["refined"]),
        slopes=[_slopes(choice, network, (1,)) for choice in data["slopes"]] or [{}],
        own_slopes=[_own_slopes(entries, network) for entries in data["own_slopes"]],
        final_slopes=_slopes(data["final_slopes"], network, (1, network.output.size - 1)),
        trees={_class(j, network): tree for j, tree in trees.items()},
    )
    _check(certificate)
    return certificate


def _check_model(fingerprint: str, name: str, stated: object, wanted: str | None) -> None:
    """Check that a model file is named by its content, and that it is the one of a certificate and of its reader."""
    require(stated == fingerprint, f"the certificate is about model {stated}, but {name} holds {fingerprint}.")
    named = f"model-{fingerprint[:16]}.npz"
    require(name == named, f"the model file {name} holds model {fingerprint}; its name must be {named}.")
    if wanted is not None:
        known = _HASH.fullmatch(wanted)
        require(known, f"the model hash {wanted!r} is not 16 to 64 digits 0-9, a-f; epsball fingerprint prints it.")
        require(fingerprint.startswith(wanted), f"the certificate is about model {fingerprint}, not {wanted}.")


def _check(certificate: Certificate) -> None:
    network, (low, high) = certificate.network, certificate.box
    others = set(range(network.output.size)) - {certificate.predicted}
    require(set(certificate.claims) == others, "the claims must be one for each class but the predicted one.")
    require(certificate.semantics in ("real", "float32"), f"{certificate.semantics!r} is not a known claim.")
    require(certificate.norm in ("linf", "l2", "l1"), f"{certificate.norm!r} is not a known norm.")
    require(((low <= certificate.x) & (certificate.x <= high)).all(), "the centre of the ball lies outside the box.")
    require(certificate.refined <= network.nodes.keys(), "a refined node does not exist.")
    deployed = all(array.dtype == np.float32 for array in network.parameters.values())
    require(deployed or certificate.semantics == "real", "a float32 claim is about a network all in float32.")


def _radius(text: str) -> Fraction:
    require(_RADIUS.fullmatch(text), f"the radius {text[:40]!r} is not a fraction of whole numbers.")
    return Fraction(text)


def _finite(array: Array) -> Array:
    require(np.isfinite(array).all(), "the file holds numbers that are not finite.")
    return array


def numbers(text: str, kind: str) -> Array:
    """Return the finite numbers that a text holds, in one of numpy's formats."""
    return _finite(np.frombuffer(base64.b64decode(text, validate=True), dtype=kind))


def places(text: str, name: str, network: Network) -> Array:
    """Return numbers of entries of a node."""
    found = numbers(text, "<i4")
    require(((found >= 0) & (found < network.nodes[name].size)).all(), f"node {name} has no such entries.")
    require(len(set(found.tolist())) == len(found), f"entries of node {name} are named twice.")
    return found


def _floats(texts: list[str], size: int) -> Array:
    return _finite(np.array([float.fromhex(text) for text in texts])).reshape(size)


def _slopes(choice: dict[str, dict[str, str | None]], network: Network, rows: tuple[int, ...]) -> Slopes:
    def decoded(text: str | None, name: str) -> Array | None:
        if text is None:
            return None
        size = network.nodes[name].size
        found = numbers(text, "<f8").reshape(-1, size)
        require(len(found) in rows, f"slopes of node {name} are for {len(found)} rows, not {rows}.")
        return found

    return {name: (decoded(pair["lower"], name), decoded(pair["upper"], name)) for name, pair in choice.items()}


def _own_slopes(data: dict[str, Any], network: Network) -> tuple[str, Array, dict[str, tuple[Array, Array]]]:
    entries, slopes = places(data["numbers"], data["node"], network), {}
    for name, part in data["slopes"].items():
        at = places(part["at"], name, network)
        slopes[name] = at, numbers(part["lower"], "<f8").reshape(2 * len(entries), len(at))
    return data["node"], entries, slopes


def _class(value: object, network: Network) -> int:
    """Return the number of a class; it is written in one way, or one class could have two claims."""
    known = {str(number): number for number in range(network.output.size)}
    require(str(value) in known, f"class {value} does not exist; there are {network.output.size}.")
    return known[str(value)]
