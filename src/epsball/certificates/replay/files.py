"""Certificates as files, which `epsball_replay` checks without torch and without this package."""

import base64
import dataclasses
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from epsball.ball import Ball
from epsball.files import write_atomically
from epsball.graph import Graph

Slopes = tuple[Tensor, Tensor | None]
"""Slopes of the lower and of the upper line of every neuron of a node; None for the upper is the chord's."""

LARGEST_FILE = 64 << 20
"""Bytes beyond which a certificate is not written: its verdict stands, and counts as one that is not replayed."""

_EFFORT = 6
"""Of gzip's compression: the highest, 9, takes six to nine times as long for files 4% smaller."""

RESERVED = frozenset(("graph", "file", "allow_pickle"))
"""Names that no parameter in a model file can have: that of the nodes, and those of `numpy.savez`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnSlopes:
    """Neurons of a node that are bounded by rows with lower slopes of their own.

    Parameters
    ----------
    node, numbers
        The node, and the k neurons by their places in its flattened value.
    slopes
        By node on the way back: m places in its flattened value, and the lower slopes there, (2 k, m): of the k rows
        that bound from below, then of those that bound from above. Elsewhere they are those of the first choice.
    """

    node: str
    numbers: Tensor
    slopes: Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenTree:
    """The proof of one margin by cuts, as a file holds it: a tree in preorder, the part z <= kink first.

    Parameters
    ----------
    nodes, shape, kinks
        The nodes that are cut; for each node of the tree the number of the one it cuts, and the entry, (-1, -1) for a
        leaf, (k, 2); and the kink of every cut.
    multipliers
        Leaf by leaf, for each cut on the way to it from the root.
    slopes
        By node places, and the slopes there of the lines below and above in each leaf, (leaves, m), where the node
        bends on what the cuts leave of its input; None, and elsewhere, is the chord.
    envelopes
        By ReLU levels (m, d) at those places: the function tau a . x + h lies above the ReLU, where a . x + a0 lies
        above its input by that neuron's own slopes, tau is the level over 255, and h is derived. The slopes below are
        the shares of it, too.
    further
        Other envelopes; then the entry of each leaf says which it stands on, 0 for `envelopes`.
    conditional
        Neurons that are bounded where the margin is at most its claim; the leaves then hold there, on the intervals
        that these bounds leave.
    """

    nodes: Sequence[str]
    shape: Tensor
    kinks: Tensor
    multipliers: Tensor
    slopes: Mapping[str, tuple[Tensor, Tensor, Tensor | None]]
    envelopes: Mapping[str, Tensor] = field(default_factory=dict)
    further: Sequence[Mapping[str, Tensor]] = ()
    conditional: Sequence["WrittenNeurons"] = ()

    def content(self) -> dict[str, Any]:
        """Return the tree as JSON's types."""
        conditional = {"conditional": [part.content() for part in self.conditional]} if self.conditional else {}
        further = {"further": list(map(_levels, self.further))} if self.further else {}
        return {
            **conditional,
            **further,
            "nodes": list(self.nodes),
            "shape": _text(self.shape, "<i4"),
            "kinks": _text(self.kinks, "<f8"),
            "multipliers": _text(self.multipliers, "<f8"),
            "slopes": _rows_slopes(self.slopes),
            "envelopes": _levels(self.envelopes),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenNeurons:
    """Neurons of a node that are bounded where a margin is at most its claim, as a file holds them.

    Parameters
    ----------
    node, numbers
        The node, and its k entries in order.
    multipliers
        mu >= 0, (2 k,), of the rows z + mu (margin - claim) and -z + mu (margin - claim).
    slopes
        As in a tree, by row.
    """

    node: str
    numbers: Tensor
    multipliers: Tensor
    slopes: Mapping[str, tuple[Tensor, Tensor, Tensor | None]]

    def content(self) -> dict[str, Any]:
        """Return the neurons as JSON's types."""
        return {
            "node": self.node,
            "numbers": _text(self.numbers, "<i4"),
            "multipliers": _text(self.multipliers, "<f8"),
            "slopes": _rows_slopes(self.slopes),
        }


class WrittenPiece(NamedTuple):
    """What a piece's bound stands on, as a file holds it.

    Parameters
    ----------
    refined
        Nodes that are bounded by backward rows on the piece.
    slopes, final
        By nonlinear node the slopes of lines there, of the node's shape; and of the nodes whose lines are others for
        the row itself.
    """

    refined: Sequence[str]
    slopes: Mapping[str, Slopes]
    final: Mapping[str, Slopes]

    def content(self) -> dict[str, Any]:
        """Return the piece as JSON's types."""
        slopes, final = ({name: _encoded(pair) for name, pair in part.items()} for part in (self.slopes, self.final))
        return {"refined": list(self.refined), "slopes": slopes, "final": final}


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenDivision:
    """The proof of one margin by pieces, on each of which every node is bounded anew, as a file holds it.

    Parameters
    ----------
    nodes, shape, kinks, multipliers
        As in a tree; a node that is cut may be the input.
    pieces
        The leaves.
    """

    nodes: Sequence[str]
    shape: Tensor
    kinks: Tensor
    multipliers: Tensor
    pieces: Sequence[WrittenPiece]

    def content(self) -> dict[str, Any]:
        """Return the tree as JSON's types."""
        return {
            "nodes": list(self.nodes),
            "shape": _text(self.shape, "<i4"),
            "kinks": _text(self.kinks, "<f8"),
            "multipliers": _text(self.multipliers, "<f8"),
            "pieces": [piece.content() for piece in self.pieces],
        }


def _levels(envelopes: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: _text(levels, "u1") for name, levels in envelopes.items()}


def _rows_slopes(slopes: Mapping[str, tuple[Tensor, Tensor, Tensor | None]]) -> dict[str, Any]:
    return {
        name: {"at": _text(at, "<i4"), **_encoded((lower, upper), "<f2")} for name, (at, lower, upper) in slopes.items()
    }


class ModelFile(NamedTuple):
    """The name of a model file, and the fingerprint of the graph in it."""

    name: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """What one certificate file says; the checker reads it into a record with the same fields.

    Parameters
    ----------
    model
        The model file beside it; the checker has the network that it reads from it.
    semantics, assumptions
        ``"real"`` or ``"float32"``, and what is assumed (``ulps``: units in the last place by function).
    norm, radius, x, box
        The ball: its exact radius, its centre, and the ends of its box, numbers or one for each entry of x, or None.
    predicted, claims
        The predicted class p, and for each other class j the claimed lower bound of z_p - z_j.
    refined
        Nodes whose values are bounded by backward bounds and not by intervals alone.
    bounds
        Lower and upper bounds by node, for human readers, stored in float32; the checker derives its own.
    slopes
        Slopes by node, of its shape, for the backward bounds of nodes; of several choices the best bound counts.
    own_slopes
        Slopes of single neurons, whose bounds are the better of these and of the choices'.
    final_slopes
        Slopes by node for the bounds of the margins, with a leading axis: one set for all rows, or one for each
        class but p.
    trees
        By class the margins that are proved by trees of cuts; such a file has the version 2.
    rows
        Other linear functions of the outputs, (k, outputs), in place of margins of a predicted class, which is then
        None; claims and trees go by their numbers. Such a file has the version 3.
    """

    model: ModelFile
    semantics: str
    assumptions: Mapping[str, Any]
    norm: str
    radius: Fraction
    x: Tensor
    box: tuple[float, float] | tuple[Tensor, Tensor] | None
    predicted: int | None
    claims: Mapping[int, float]
    refined: Sequence[str]
    bounds: Mapping[str, tuple[Tensor, Tensor]]
    slopes: Sequence[Mapping[str, Slopes]]
    own_slopes: Sequence[OwnSlopes]
    final_slopes: Mapping[str, Slopes]
    trees: Mapping[int, WrittenTree | WrittenDivision] = field(default_factory=dict)
    rows: Tensor | None = None

    def to_bytes(self) -> bytes:
        """Return the file: JSON, compressed by gzip."""
        content = {
            "format": "epsball-certificate",
            "version": 1,
            "model": {"file": self.model.name, "fingerprint": self.model.fingerprint},
            "semantics": self.semantics,
            "assumptions": dict(self.assumptions),
            "norm": self.norm,
            "radius": str(self.radius),
            "x": _hexadecimal(self.x),
            "box": None if self.box is None else [_hexadecimal(end) for end in self.box],
            "predicted": self.predicted,
            "claims": {str(j): float(claim).hex() for j, claim in sorted(self.claims.items())},
            "refined": list(self.refined),
            "bounds": {name: _encoded(pair, "<f4") for name, pair in self.bounds.items()},
            "slopes": [{name: _encoded(pair) for name, pair in choice.items()} for choice in self.slopes],
            "own_slopes": [_own(neurons) for neurons in self.own_slopes],
            "final_slopes": {name: _encoded(pair) for name, pair in self.final_slopes.items()},
        }
        if self.trees:
            content |= {"version": 2, "trees": {str(j): tree.content() for j, tree in sorted(self.trees.items())}}
        if self.rows is not None:
            content |= {"version": 3, "rows": [_hexadecimal(row) for row in self.rows]}
        return gzip.compress(json.dumps(content).encode(), _EFFORT, mtime=0)


def box_of(ball: Ball) -> tuple[float, float] | None:
    """Return the ends of a ball's box, or None where it has none."""
    return None if ball.low is None or ball.high is None else (ball.low, ball.high)


def model_file_name(fingerprint: str) -> str:
    """Return the name of the model file of a graph: the checker knows no other."""
    return f"model-{fingerprint[:16]}.npz"


def write_model(graph: Graph, folder: Path) -> ModelFile:
    """Write a graph and its parameters as a model file; return its name and the graph's fingerprint.

    The name holds the fingerprint, so a file that exists already is the same model.
    """
    fingerprint = graph.fingerprint()
    name = model_file_name(fingerprint)
    if not (folder / name).exists():
        nodes = [
            [node.name, type(node.kind).__name__, dataclasses.asdict(node.kind), node.inputs, node.shape]  # pyright: ignore[reportArgumentType]
            for node in graph.nodes
        ]
        described = json.dumps({"nodes": nodes, "output": graph.output}).encode()
        arrays = {key: tensor.detach().cpu().numpy() for key, tensor in graph.parameters.items()}
        buffer = io.BytesIO()
        np.savez(buffer, graph=np.frombuffer(described, dtype=np.uint8), **arrays)  # pyright: ignore[reportArgumentType]
        write_atomically(folder / name, buffer.getvalue())
    return ModelFile(name, fingerprint)


def _hexadecimal(given: Tensor | float) -> str | list[str]:
    """Return a number, or the numbers of a tensor one after the other, as hexadecimal floats."""
    return [float(v).hex() for v in given.reshape(-1).tolist()] if isinstance(given, Tensor) else float(given).hex()


def _own(neurons: OwnSlopes) -> dict[str, Any]:
    slopes = {
        name: {"at": _text(at, "<i4"), "lower": _text(lower, "<f8")} for name, (at, lower) in neurons.slopes.items()
    }
    return {"node": neurons.node, "numbers": _text(neurons.numbers, "<i4"), "slopes": slopes}


def _encoded(pair: Slopes, kind: str = "<f8") -> dict[str, str | None]:
    texts = [None if side is None else _text(side, kind) for side in pair]
    return dict(zip(("lower", "upper"), texts, strict=True))


def _text(tensor: Tensor, kind: str) -> str:
    return base64.b64encode(tensor.detach().cpu().contiguous().numpy().astype(kind).tobytes()).decode()
