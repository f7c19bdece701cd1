"""Certificates as files, which `epsball_replay` checks without torch and without this package."""

import base64
import dataclasses
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from epsball.ball import Ball
from epsball.files import write_atomically
from epsball.graph import Graph

Slopes = tuple[Tensor, Tensor | None]
"""Slopes of the lower and of the upper line of every entry of a node; None above is the chord's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnSlopes:
    """Entries of a node that are bounded by rows with lower slopes of their own.

    Parameters
    ----------
    node, numbers
        The node, and the k entries by their places in its flattened value.
    slopes
        By node on the way back: m places in its flattened value, and the lower slopes there, (2 k, m): of the k rows
        that bound from below, then of those that bound from above. Elsewhere they are those of the first choice.
    """

    node: str
    numbers: Tensor
    slopes: Mapping[str, tuple[Tensor, Tensor]]


def write_model(graph: Graph, folder: Path) -> str:
    """Write a graph and its parameters as a model file; return the file's name.

    The name holds the graph's fingerprint, so a file that is there already is the same model.
    """
    name = f"model-{graph.fingerprint()[:16]}.npz"
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
    return name


def write_certificate(
    path: Path,
    *,
    model: str,
    fingerprint: str,
    x: Tensor,
    ball: Ball,
    predicted: int,
    claims: Mapping[int, float],
    semantics: str,
    assumptions: Mapping[str, Any],
    refined: tuple[str, ...],
    bounds: Mapping[str, tuple[Tensor, Tensor]],
    slopes: Sequence[Mapping[str, Slopes]],
    own_slopes: Sequence[OwnSlopes],
    final_slopes: Mapping[str, Slopes],
) -> None:
    """Write one example's certificate: JSON, compressed by gzip.

    Parameters
    ----------
    path
        The file, beside its model file.
    model, fingerprint
        Name of the model file, and the graph's fingerprint.
    x, ball
        The example and the perturbation set.
    predicted, claims
        The predicted class p, and for each other class j the claimed lower bound of z_p - z_j.
    semantics, assumptions
        ``"real"`` or ``"float32"``, and what is assumed (``ulps``: units in the last place by function).
    refined
        Nodes whose values are bounded by backward bounds and not by intervals alone.
    bounds
        Lower and upper bounds by node, for readers, stored in float32; the checker derives its own.
    slopes
        Slopes by node, of its shape, for the backward bounds of nodes; of several choices the best bound counts.
    own_slopes
        Slopes of single entries, whose bounds are the better of these and of the choices'.
    final_slopes
        Slopes by node for the bounds of the margins, with a leading axis: one set for all rows, or one for each
        class but p.
    """
    content = {
        "format": "epsball-certificate",
        "version": 1,
        "model": {"file": model, "fingerprint": fingerprint},
        "semantics": semantics,
        "assumptions": dict(assumptions),
        "norm": ball.norm,
        "radius": str(ball.radius),
        "x": [float(value).hex() for value in x.reshape(-1).tolist()],
        "box": None if ball.low is None or ball.high is None else [float(ball.low).hex(), float(ball.high).hex()],
        "predicted": predicted,
        "claims": {str(j): float(claim).hex() for j, claim in sorted(claims.items())},
        "refined": list(refined),
        "bounds": {name: _encoded(pair, "<f4") for name, pair in bounds.items()},
        "slopes": [{name: _encoded(pair) for name, pair in choice.items()} for choice in slopes],
        "own_slopes": [_own(entries) for entries in own_slopes],
        "final_slopes": {name: _encoded(pair) for name, pair in final_slopes.items()},
    }
    write_atomically(path, gzip.compress(json.dumps(content).encode(), mtime=0))


def _own(entries: OwnSlopes) -> dict[str, Any]:
    slopes = {
        name: {"at": _text(at, "<i4"), "lower": _text(lower, "<f8")} for name, (at, lower) in entries.slopes.items()
    }
    return {"node": entries.node, "numbers": _text(entries.numbers, "<i4"), "slopes": slopes}


def _encoded(pair: Slopes, kind: str = "<f8") -> dict[str, str | None]:
    texts = [None if side is None else _text(side, kind) for side in pair]
    return dict(zip(("lower", "upper"), texts, strict=True))


def _text(tensor: Tensor, kind: str) -> str:
    return base64.b64encode(tensor.detach().cpu().contiguous().numpy().astype(kind).tobytes()).decode()
