"""Which certificates the independent checker can replay, and how bounds become its certificates."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from epsball.ball import Ball
from epsball.certificates.arithmetic import Arithmetic
from epsball.certificates.cascade import Proof
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.domain import Domain
from epsball.certificates.linear.coefficients import Window
from epsball.certificates.linear.refinement import slope_choices
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.windows import cropped
from epsball.certificates.propagation import Propagation, propagate
from epsball.certificates.replay.files import OwnSlopes, Slopes, write_certificate
from epsball.certificates.slopes.neurons import Entries
from epsball.graph import Graph, Node, kinds

FUNCTIONS = ("relu", "leaky_relu", "abs", "negative", "clamp", "sigmoid", "tanh")
"""Functions of one variable that the checker knows."""

_CURVES = (kinds.Elementwise, kinds.PReLU)
_MOVES = (kinds.Reshape, kinds.Permute, kinds.Expand, kinds.Slice, kinds.Gather)
_UNKNOWN = (kinds.MatMul, kinds.Maximum, kinds.Minimum, kinds.Softmax, kinds.LogSoftmax, kinds.Upsample)
ULPS = 8.0
"""Units in the last place that sigmoid and tanh are assumed to be right to."""


def not_replayable(graph: Graph) -> str | None:
    """Return why the checker cannot replay certificates of a network, or None if it can."""
    fixed: set[str] = set()
    for node in graph.nodes:
        reason = _unknown(node, graph, fixed)
        if reason is not None:
            return f"node '{node.name}' {reason}"
        if isinstance(node.kind, kinds.Constant) or (isinstance(node.kind, _MOVES) and fixed.issuperset(node.inputs)):
            fixed.add(node.name)
    return None


def _unknown(node: Node, graph: Graph, fixed: set[str]) -> str | None:
    """Return why the checker does not know a node; `fixed` are entries of constants, moved but not computed."""
    match node.kind:
        case kinds.Elementwise(function=function) if function not in FUNCTIONS:
            return f"is {function}"
        case kinds.Multiply() if not fixed.intersection(node.inputs):
            return "is a product of two values"
        case kinds.Divide() if node.inputs[1] not in fixed:
            return "is a quotient of two values"
        case kinds.AdaptiveAveragePool() if _uneven(graph[node.inputs[0]].shape, node.shape):
            return "pools adaptively into windows of different size"
        case kinds.AveragePool(ceil_mode=True, count_include_pad=True, divisor=None):
            return "is an average pooling with ceil_mode that counts its padding"
        case kinds.Pad(mode="constant", value=value) if not math.isfinite(value):
            return f"pads with {value}"
        case kind if isinstance(kind, _UNKNOWN):
            return f"is a {type(kind).__name__}"
    return None


def _uneven(shape: tuple[int, ...], pooled: tuple[int, ...]) -> bool:
    return any(n % m for n, m in zip(shape[1:], pooled[1:], strict=True))


def emit(
    path: Path,
    graph: Graph,
    model: str,
    proof: Proof,
    *,
    x: Tensor,
    ball: Ball,
    predicted: int,
    arithmetic: Arithmetic,
    assumptions: tuple[str, ...],
) -> None:
    """Write the certificate of one example.

    The claims are the bounds lowered by up to 2^-16 of themselves and 2^-16, at most by half: room
    for the checker's own error terms, which are not the ones used here.
    """
    bounds = propagate(graph, Domain.of(ball, x.unsqueeze(0)), arithmetic, boxes=proof.bounds.boxes)
    lines = {node.name: lines_at(bounds, node, flat=proof.method == "interval") for node in _curves(graph)}
    final = {name: _for_rows(pair, proof.bounds.slopes.get(name)) for name, pair in lines.items()}
    refined = refined_nodes(graph)
    others = [j for j in range(graph.classes) if j != predicted]
    write_certificate(
        path,
        model=model,
        fingerprint=graph.fingerprint(),
        x=x,
        ball=ball,
        predicted=predicted,
        claims=dict(zip(others, map(_lowered, proof.bounds.rows[0].tolist()), strict=True)),
        semantics=arithmetic.name,
        assumptions={"ulps": {"sigmoid": ULPS, "tanh": ULPS}, "kernels": list(assumptions)},
        refined=refined if proof.method in ("forward", "crown", "optimised") else (),
        bounds={name: (box.low[0], box.high[0]) for name in refined if (box := proof.bounds.boxes[name])},
        slopes=_choices(lines, slope_choices(bounds, proof.method == "optimised")),
        own_slopes=_own_slopes(bounds, proof.bounds.entries.get(0, ())),
        final_slopes=final,
    )


def refined_nodes(graph: Graph) -> tuple[str, ...]:
    """Return the nodes that a function which is not affine takes."""
    taken = {
        name
        for node in graph.nodes
        if isinstance(node.kind, (*_CURVES, kinds.MaxPool, kinds.Max))
        for name in node.inputs
    }
    return tuple(node.name for node in graph.nodes if node.name in taken and not isinstance(node.kind, kinds.Input))


def lines_at(bounds: Propagation, node: Node, *, flat: bool) -> Slopes:
    """Return the slopes below and above a node on one example; flat ones are those of intervals."""
    if flat:
        return torch.zeros(node.shape), torch.zeros(node.shape)
    lines: LinearRelaxation = bounds.relaxation(node)
    lower = lines.lower_slope[0, 0].expand(node.shape)
    chord = isinstance(node.kind, kinds.PReLU) or node.kind.function in ("relu", "leaky_relu")  # pyright: ignore[reportAttributeAccessIssue]
    return lower, None if chord else lines.upper_slope[0, 0].expand(node.shape)


def _choices(lines: dict[str, Slopes], choices: list[dict[str, Tensor]]) -> list[dict[str, Slopes]]:
    """Return the lines once for every choice of lower slopes."""
    return [
        {name: (choice[name][0, 0].expand_as(low) if name in choice else low, up) for name, (low, up) in lines.items()}
        for choice in choices
    ]


def _own_slopes(bounds: Propagation, entries: Sequence[Entries]) -> list[OwnSlopes]:
    """Return the slopes of entries' rows at those places that the rows reach and where there is a choice."""
    limits = slope_limits(bounds)
    return [
        OwnSlopes(
            node=part.node,
            numbers=part.numbers,
            slopes={name: _where_free(slope[0], part.parts[name], limits[name]) for name, slope in part.slopes.items()},
        )
        for part in entries
    ]


def _where_free(slope: Tensor, window: Window | None, limits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the places of a rectifier where the slopes of rows (r, *part) are free, and those there, (r, m)."""
    low, high = (cropped(limit[0, 0], window) for limit in limits)
    places = torch.arange(limits[0].numel()).view(limits[0].shape[2:])
    free = low < high
    return cropped(places, window)[free], slope.to(low.dtype).clamp(low, high)[:, free]


def _curves(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.kind, _CURVES) and node.name not in graph.constant]


def _for_rows(pair: Slopes, chosen: Tensor | None) -> Slopes:
    """Return slopes with an axis of rows: one set for all, but where each row chose its own."""
    upper = None if pair[1] is None else pair[1].unsqueeze(0)
    return (pair[0].unsqueeze(0) if chosen is None else chosen[0]), upper


def _lowered(bound: float) -> float:
    return bound - min(abs(bound) / 2, 2.0**-16 * (1 + abs(bound)))
