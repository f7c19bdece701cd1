"""Certificates as files, which `epsball_replay` checks without torch and without this package."""

import base64
import dataclasses
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from epsball.ball import Ball
from epsball.files import write_atomically
from epsball.graph import Graph

Pair = tuple[Tensor, Tensor]
"""Something of the lower and of the upper side of every entry of a node."""


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
    bounds: Mapping[str, Pair],
    slopes: Mapping[str, Pair],
    final_slopes: Mapping[str, Pair],
) -> None:
    """Write one example's certificate.

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
        Lower and upper bounds by node, for readers; the checker derives its own.
    slopes, final_slopes
        Slopes by node, of its shape, for the backward bounds of nodes; and for those of the margins,
        with a leading axis: one set for all rows, or one for each class but p.
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
        "bounds": {name: _encoded(pair) for name, pair in bounds.items()},
        "slopes": {name: _encoded(pair) for name, pair in slopes.items()},
        "final_slopes": {name: _encoded(pair) for name, pair in final_slopes.items()},
    }
    write_atomically(path, (json.dumps(content) + os.linesep).encode())


def _encoded(pair: Pair) -> dict[str, str]:
    lower, upper = (side.detach().cpu().to(torch.float64).contiguous().numpy().astype("<f8") for side in pair)
    return {"lower": base64.b64encode(lower.tobytes()).decode(), "upper": base64.b64encode(upper.tobytes()).decode()}
