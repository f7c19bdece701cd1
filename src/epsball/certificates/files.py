"""Certificate files under the names and signatures of version 0.1, until 0.3: they live in `replay/files.py` now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from epsball.ball import Ball
from epsball.certificates.replay import files
from epsball.certificates.replay.files import Certificate, ModelFile, box_of
from epsball.certificates.replay.files import OwnSlopes as OwnSlopes
from epsball.certificates.replay.files import Slopes as Slopes
from epsball.files import write_atomically
from epsball.graph import Graph


def write_model(graph: Graph, folder: Path) -> str:
    """Write a graph and its parameters as a model file; return the file's name.

    `epsball.certificates.replay.files.write_model` returns the graph's fingerprint with it.
    """
    return files.write_model(graph, folder).name


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
    """Write one example's certificate; the arguments are fields of `epsball.certificates.replay.files.Certificate`."""
    certificate = Certificate(
        model=ModelFile(model, fingerprint),
        semantics=semantics,
        assumptions=assumptions,
        norm=ball.norm,
        radius=ball.radius,
        x=x,
        box=box_of(ball),
        predicted=predicted,
        claims=claims,
        refined=refined,
        bounds=bounds,
        slopes=slopes,
        own_slopes=own_slopes,
        final_slopes=final_slopes,
    )
    write_atomically(path, certificate.to_bytes())
