"""Reading a certificate and the network it is about; everything read is checked before it is used."""

import base64
import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from epsball_replay.network import Array, Network, distinct_fields, read_network, require

_LARGEST_FILE = 2**30
_EVERYWHERE = [float(end).hex() for end in (np.finfo(float).min, np.finfo(float).max)]
_MODEL = re.compile(r"model-[0-9a-f]{16}\.npz")
_HASH = re.compile(r"[0-9a-f]{16,64}")
# No exponents, which may stand for numbers beyond any memory.
_RADIUS = re.compile(r"[0-9]{1,400}(/[0-9]{1,400})?")

Slopes = dict[str, tuple[Array | None, Array | None]]
"""By node, slopes of the lines below and above it, (rows, entries) or (1, entries); None is the chord's."""


@dataclass(frozen=True)
class Certificate:
    """A claim: on every point of the ball about x and in the box, rows[j] . z >= claims[j] for every j.

    Where a class p is predicted, j are the other classes and rows[j] . z is z_p - z_j.
    """

    network: Network
    semantics: str
    assumptions: dict[str, Any]
    norm: str
    radius: Fraction
    x: Array
    box: list[Array]
    predicted: int | None
    claims: dict[int, float]
    refined: frozenset[str]
    slopes: list[Slopes]
    own_slopes: list[tuple[str, Array, dict[str, tuple[Array, Array]]]]
    """A node, k entries, and for their 2 k rows (lower bounds first) by node places and the slopes there, (2 k, m)."""
    final_slopes: Slopes
    trees: dict[int, Any]
    """Those rows that are proved by a tree, as the file has it."""
    rows: dict[int, Array]

    def __post_init__(self) -> None:
        """Check what is claimed, and of what."""
        network, (low, high) = self.network, self.box
        claimed = self.rows and self.claims.keys() == self.rows.keys()
        require(claimed, "the claims must be one for each class but the predicted one, or one for each row.")
        require(self.semantics in ("real", "float32"), f"{self.semantics!r} is not a known claim.")
        require(self.norm in ("linf", "l2", "l1"), f"{self.norm!r} is not a known norm.")
        require(((low <= self.x) & (self.x <= high)).all(), "the centre of the ball lies outside the box.")
        ulps = self.assumptions["ulps"]
        # Kernels of smooth functions are right within 4 units in the last place at best.
        known = all(type(units) in (int, float) and 4 <= units <= 1e6 for units in ulps.values())
        require(known, f"functions are assumed right within {ulps} units in the last place, not at least 4.")
        require(self.refined <= network.nodes.keys(), "a refined node does not exist.")
        deployed = all(array.dtype == np.float32 for array in network.parameters.values())
        require(deployed or self.semantics == "real", "a float32 claim is about a network all in float32.")


def read_certificate(path: Path, model_hash: str | None = None) -> Certificate:
    """Read and check a certificate file and the model file beside it, which it names and which may be required."""
    with gzip.open(path) as file:
        text = file.read(_LARGEST_FILE + 1)
    require(len(text) <= _LARGEST_FILE, f"{path} unpacks to more than {_LARGEST_FILE} bytes.")
    data = json.loads(text, object_pairs_hook=distinct_fields)
    version, model = (data["format"], data["version"]), data["model"]
    known = version in (("epsball-certificate", 1), ("epsball-certificate", 2), ("epsball-certificate", 3))
    require(known, f"the file is of format {version}; known are versions 1, 2 with trees, and 3 with other rows.")
    name = model["file"]
    require(type(name) is str and _MODEL.fullmatch(name), f"the model beside is no model-HASH.npz but {name!r}.")
    network = read_network(path.parent / name)
    _check_model(network.fingerprint, name, model["fingerprint"], model_hash)
    radius, box = data["radius"], data["box"] or _EVERYWHERE
    require(_RADIUS.fullmatch(radius), f"the radius {radius[:40]!r} is not a fraction of whole numbers.")
    predicted, rows = _rows(data, network)
    return Certificate(
        network=network,
        **{name: data[name] for name in ("semantics", "assumptions", "norm")},
        radius=Fraction(data["radius"]),
        x=_floats(data["x"], network.input.size),
        box=[_floats(e if type(e) is list else [e] * network.input.size, network.input.size) for e in box],
        predicted=predicted,
        rows=rows,
        claims={_named(j, rows): float(_floats([claim], 1)[0]) for j, claim in data["claims"].items()},
        refined=frozenset(data["refined"]),
        slopes=[slopes_from(choice, network, (1,)) for choice in data["slopes"]] or [{}],
        own_slopes=[_own_slopes(entries, network) for entries in data["own_slopes"]],
        final_slopes=slopes_from(data["final_slopes"], network, (1, len(rows))),
        trees={_named(j, rows): tree for j, tree in data.get("trees", {}).items()},
    )


def _check_model(fingerprint: str, name: str, stated: object, wanted: str | None) -> None:
    """Check that a model file is named by its content, and that it is the one of a certificate and of its reader."""
    require(stated == fingerprint, f"the certificate is about model {stated}, but {name} holds {fingerprint}.")
    named, wanted = f"model-{fingerprint[:16]}.npz", fingerprint if wanted is None else wanted
    require(name == named, f"the model file {name} holds model {fingerprint}; its name must be {named}.")
    require(_HASH.fullmatch(wanted), f"the hash {wanted!r} is not 16 to 64 digits 0-9, a-f; fingerprint prints it.")
    require(fingerprint.startswith(wanted), f"the certificate is about model {fingerprint}, not {wanted}.")


def _finite(array: Array) -> Array:
    require(np.isfinite(array).all(), "the file holds numbers that are not finite.")
    return array


def numbers(text: str, kind: str) -> Array:
    """Return the finite numbers that a text holds, in one of numpy's formats."""
    return _finite(np.frombuffer(base64.b64decode(text, validate=True), dtype=kind))


def places(text: str, name: str, network: Network) -> Array:
    """Return numbers of entries of a node, in order."""
    found = numbers(text, "<i4")
    known = ((found >= 0) & (found < network.nodes[name].size)).all() and (np.diff(found) > 0).all()
    require(known, f"node {name} has no such entries, or they are not in order.")
    return found


def _floats(texts: list[str], size: int) -> Array:
    return _finite(np.array([float.fromhex(text) for text in texts])).reshape(size)


def slopes_from(choice: dict[str, dict[str, str | None]], network: Network, rows: tuple[int, ...]) -> Slopes:
    """Return slopes by node from a file's texts; there are as many rows of them as may be."""

    def decoded(text: str | None, name: str) -> Array | None:
        found = None if text is None else numbers(text, "<f8").reshape(-1, network.nodes[name].size)
        require(found is None or len(found) in rows, f"slopes of node {name} are not for {rows} rows.")
        return found

    return {name: (decoded(pair["lower"], name), decoded(pair["upper"], name)) for name, pair in choice.items()}


def _own_slopes(data: dict[str, Any], network: Network) -> tuple[str, Array, dict[str, tuple[Array, Array]]]:
    entries = places(data["numbers"], data["node"], network)
    at = {name: places(part["at"], name, network) for name, part in data["slopes"].items()}
    given = {name: numbers(part["lower"], "<f8").reshape(2 * len(entries), -1) for name, part in data["slopes"].items()}
    return data["node"], entries, {name: (at[name], given[name][:, : len(at[name])]) for name in at}


def _rows(data: dict[str, Any], network: Network) -> tuple[int | None, dict[int, Array]]:
    """Return the predicted class and the rows of its margins, or, from version 3 on, no class and the file's rows."""
    size = network.output.size
    if data["version"] == 3:
        return None, {j: _floats(row, size) for j, row in enumerate(data["rows"])}
    p, one = _named(data["predicted"], range(size)), np.eye(size)
    return p, {j: one[p] - one[j] for j in range(size) if j != p}


def _named(value: object, numbers: Iterable[int]) -> int:
    """Return the number of a class or row; it is written in one way, or one could have two claims."""
    known = {str(number): number for number in numbers}
    require(str(value) in known, f"class {value} does not exist; there are {len(known)}.")
    return known[str(value)]
