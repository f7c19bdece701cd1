"""Whether a graph computes what its source computes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from epsball.errors import ModelError
from epsball.graph._graph import Graph

BATCHES = (1, 2, 5)
"""Lengths of the batches compared: a source that mixes rows differs from its graph, which cannot mix them."""

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
"""Largest difference allowed, relative to the largest logit.

Both sides run the same kernels except for rewritten operations, which round differently: about
1e-16 and 1e-7 per operation, amplified by layers. A wrong attribute, weight or axis changes logits
by far more than 1e-8 in float64, where the comparison is sharp; the one in float32 finds what
differs only there.
"""


def check_agreement(
    graph: Graph,
    source: Callable[[Tensor], object],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    parameters: Mapping[str, Tensor] | None = None,
) -> None:
    """Compare a graph with its source on random inputs in [-1, 1] and [0, 1], in batches of `BATCHES` rows.

    Raises
    ------
    ModelError
        If they differ, or a row of the source depends on its batch.
    """
    generator = torch.Generator().manual_seed(0)
    for n in BATCHES:
        x = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
        x[1::2] = 2 * x[1::2] - 1
        x = x.to(device, dtype)
        expected = source(x.clone())
        if not isinstance(expected, Tensor):
            raise ModelError(
                f"{graph.source} returns a {type(expected).__name__}; a classifier returns a tensor of logits."
            )
        compare(graph(x, parameters), expected, graph.source)


WHY = (
    "The model depends on its batch, on chance or on more than its input; certificates would be about a different "
    "function."
)
"""What a difference means."""


def compare(computed: Tensor, expected: Tensor, source: str, tolerance: float | None = None, *, why: str = WHY) -> None:
    """Raise a `ModelError` unless two batches of logits agree to `tolerance` (`TOLERANCE` if None)."""
    if computed.shape != expected.shape:
        raise ModelError(
            f"{source} returns {tuple(expected.shape)} where its graph returns {tuple(computed.shape)}: it treats "
            "batches of different lengths differently. Use a model whose rows do not depend on each other."
        )
    a, b = computed.double(), expected.double()
    finite = b[b.isfinite()]
    scale = float(finite.abs().max()) if len(finite) else 1.0
    allowed = (TOLERANCE[expected.dtype] if tolerance is None else tolerance) * max(scale, 1e-30)
    same = (a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= allowed)
    if not same.all():
        worst = float((a - b).abs().nan_to_num(torch.inf)[~same].max())
        raise ModelError(
            f"the graph of {source} differs from it by {worst:.3g} at random inputs, where logits reach {scale:.3g}. "
            f"{why}"
        )
