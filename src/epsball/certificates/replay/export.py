"""Which certificates the independent checker can replay, and how bounds become its certificates."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from epsball.ball import Ball
from epsball.certificates.branching.tree import Division, Piece, Split, Step, Taus, Tree
from epsball.certificates.branching.tree import Slopes as RowSlopes
from epsball.certificates.cascade import Proof
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.deployment import assumptions_of
from epsball.certificates.linear.coefficients import Window
from epsball.certificates.linear.refinement import slope_choices
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.windows import cropped
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation
from epsball.certificates.registry import METHODS
from epsball.certificates.replay.files import (
    LARGEST_FILE,
    RESERVED,
    Certificate,
    ModelFile,
    OwnSlopes,
    Slopes,
    WrittenDivision,
    WrittenNeurons,
    WrittenPiece,
    WrittenTree,
    box_of,
)
from epsball.certificates.slopes.neurons import NeuronSlopes
from epsball.files import write_atomically
from epsball.graph import Graph, Node, kinds

FUNCTIONS = ("relu", "leaky_relu", "abs", "negative", "clamp", "sigmoid", "tanh")
"""Functions of one variable that the checker knows."""

_CURVES = (kinds.Elementwise, kinds.PReLU)
_MOVES = (kinds.Reshape, kinds.Permute, kinds.Expand, kinds.Slice, kinds.Gather)
_UNKNOWN = (
    *(kinds.MatMul, kinds.Maximum, kinds.Minimum, kinds.Softmax, kinds.LogSoftmax, kinds.Upsample),
    *(kinds.Compare, kinds.Select, kinds.Round),
)
ULPS = 8.0
"""Units in the last place within which sigmoid and tanh are assumed to be right."""


def not_replayable(graph: Graph) -> str | None:
    """Return why the checker cannot replay certificates of a network, or None if it can."""
    reserved = RESERVED.intersection(graph.parameters)
    if reserved:
        return f"its parameter '{min(reserved)}' has a name that model files use themselves"
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
        case kinds.MaxPool() if _padding_alone(node.kind, graph[node.inputs[0]].shape, node.shape):
            return "pools windows of padding alone, whose maximum is -infinity"
        case kinds.AveragePool(ceil_mode=True, count_include_pad=True, divisor=None):
            return "is an average pooling with ceil_mode that counts its padding"
        case kinds.Pad(mode="constant", value=value) if not math.isfinite(value):
            return f"pads with {value}"
        case kind if isinstance(kind, _UNKNOWN):
            return f"is a {type(kind).__name__}"
    return None


def _padding_alone(kind: kinds.MaxPool, shape: tuple[int, ...], pooled: tuple[int, ...]) -> bool:
    axes = zip(shape[1:], pooled[1:], kind.kernel, kind.stride, kind.padding, kind.dilation, strict=True)
    return any(
        not any(0 <= place * s - p + tap * d < n for tap in range(k)) for n, m, k, s, p, d in axes for place in range(m)
    )


def _uneven(shape: tuple[int, ...], pooled: tuple[int, ...]) -> bool:
    return any(n % m for n, m in zip(shape[1:], pooled[1:], strict=True))


def export_certificate(path: Path, proof: Proof, ball: Ball, model: ModelFile) -> int:
    """Write the certificate of one example beside its model file; return its bytes.

    One of more than `LARGEST_FILE` bytes is not written.

    Parameters
    ----------
    path
        The file.
    proof
        What proves it; its method has a `ReplayPlan`.
    ball, model
        The perturbation set, and the model file.
    """
    content = certificate_of(proof, ball, model).to_bytes()
    if len(content) <= LARGEST_FILE:
        write_atomically(path, content)
    return len(content)


def certificate_of(proof: Proof, ball: Ball, model: ModelFile) -> Certificate:
    """Return the certificate of one example.

    The claims are the bounds lowered by up to 2^-16 of themselves and 2^-16, at most by half: room
    for the checker's own error terms, which are not the ones used here.
    """
    others = [j for j in range(proof.problem.graph.classes) if j != proof.predicted]
    return Certificate(
        **_proof(proof.method, proof.problem, proof.bounds, others, model),
        norm=ball.norm,
        radius=ball.radius,
        x=proof.problem.domain.centre[0],
        box=box_of(ball),
        predicted=proof.predicted,
    )


def certificate_of_rows(method: str, problem: Problem, found: LowerBounds, model: ModelFile) -> Certificate:
    """Return the certificate of rows over the outputs on one box.

    The box is a ball around its middle that is wide enough, cut by the box's own ends.

    Parameters
    ----------
    method
        The method that bounded them; it has a `ReplayPlan`.
    problem, found
        What was bounded, on a domain that is a box, and the bounds: batches of one.
    model
        The model file.
    """
    low, high = (end[0] for end in problem.domain.box)
    return Certificate(
        **_proof(method, problem, found, range(found.rows.shape[1]), model),
        norm="linf",
        radius=Fraction(float((high - low).max())),
        x=(0.5 * low + 0.5 * high).clamp(low, high),
        box=(low, high),
        predicted=None,
        rows=problem.specification[0],
    )


def _proof(method: str, problem: Problem, found: LowerBounds, names: Sequence[int], model: ModelFile) -> dict[str, Any]:
    """Return the fields of a certificate that do not say of which points it is."""
    plan = METHODS[method].replay
    if plan is None:
        raise ValueError(f"certificates of '{method}' cannot be replayed")
    graph = problem.graph
    bounds = problem.propagate(boxes=found.boxes)
    slopes = {node.name: slopes_at(bounds, node, flat=plan.flat) for node in _curves(graph)}
    refined = refined_nodes(graph)
    return {
        "model": model,
        "semantics": bounds.arithmetic.name,
        "assumptions": {"ulps": {"sigmoid": ULPS, "tanh": ULPS}, "kernels": list(assumptions_of(bounds.arithmetic))},
        "claims": dict(zip(names, map(_lowered, found.rows[0].tolist()), strict=True)),
        "refined": refined if plan.refined else (),
        "bounds": {name: (box.low[0], box.high[0]) for name in refined if (box := found.boxes[name])},
        "slopes": _choices(slopes, slope_choices(bounds, plan.lower)),
        "own_slopes": _own_slopes(bounds, found.neuron_slopes.get(0, ())),
        "final_slopes": {name: _for_rows(pair, found.slopes.get(name)) for name, pair in slopes.items()},
        "trees": {
            names[tree.row]: written(tree) if isinstance(tree, Tree) else divided(tree, refined)
            for tree in found.trees.get(0, ())
        },
    }


def refined_nodes(graph: Graph) -> tuple[str, ...]:
    """Return the nodes that are inputs of a nonlinear function."""
    taken = {
        name
        for node in graph.nodes
        if isinstance(node.kind, (*_CURVES, kinds.MaxPool, kinds.Max))
        for name in node.inputs
    }
    return tuple(node.name for node in graph.nodes if node.name in taken and not isinstance(node.kind, kinds.Input))


def slopes_at(bounds: Propagation, node: Node, *, flat: bool) -> Slopes:
    """Return the slopes below and above a node on one example; flat ones are those of intervals."""
    if flat:
        return torch.zeros(node.shape), torch.zeros(node.shape)
    lines: LinearRelaxation = bounds.relaxation(node)
    lower = lines.lower_slope[0, 0].expand(node.shape)
    chord = isinstance(node.kind, kinds.PReLU) or node.kind.function in ("relu", "leaky_relu")  # pyright: ignore[reportAttributeAccessIssue]
    return lower, None if chord else lines.upper_slope[0, 0].expand(node.shape)


def _choices(slopes: dict[str, Slopes], choices: list[dict[str, Tensor]]) -> list[dict[str, Slopes]]:
    """Return the slopes once for every choice of lower ones."""
    return [
        {name: (choice[name][0, 0].expand_as(low) if name in choice else low, up) for name, (low, up) in slopes.items()}
        for choice in choices
    ]


def _own_slopes(bounds: Propagation, neurons: Sequence[NeuronSlopes]) -> list[OwnSlopes]:
    """Return the slopes of neurons' rows at the places that the rows reach and where there is a choice."""
    limits = slope_limits(bounds)
    return [
        OwnSlopes(
            node=part.node,
            numbers=part.neurons,
            slopes={name: _where_free(slope[0], part.parts[name], limits[name]) for name, slope in part.slopes.items()},
        )
        for part in neurons
    ]


def written(tree: Tree) -> WrittenTree:
    """Return a tree as files hold it."""
    return WrittenTree(
        **_cuts(tree.shape, tree.paths, tree.used or None),
        slopes=_rows_slopes(tree.slopes),
        envelopes=_levels(tree.taus),
        further=[_levels(taus) for taus in tree.further],
        conditional=[
            WrittenNeurons(
                node=part.node,
                numbers=part.neurons,
                multipliers=part.multipliers,
                slopes=_rows_slopes(part.slopes),
            )
            for part in tree.conditional
        ],
    )


def _levels(taus: Mapping[str, Taus]) -> dict[str, Tensor]:
    return {name: part.levels for name, part in taus.items()}


def divided(tree: Division, refined: Sequence[str]) -> WrittenDivision:
    """Return a tree of pieces as files hold it, given the nodes that rows bound."""
    shared = tree.used if len(set(tree.used)) < len(tree.used) else None
    return WrittenDivision(
        **_cuts(tree.shape, tree.paths, shared), pieces=[_piece(piece, refined) for piece in tree.pieces]
    )


def _piece(piece: Piece, refined: Sequence[str]) -> WrittenPiece:
    final = {
        name: (slope, piece.slopes[name][1])
        for name, slope in piece.final.items()
        if not torch.equal(slope, piece.slopes[name][0])
    }
    return WrittenPiece(refined if piece.refreshed else (), piece.slopes, final)


def _cuts(shape: Sequence[Split | None], paths: Sequence[Sequence[Step]], used: Sequence[int] | None) -> dict[str, Any]:
    """Return the fields of a tree's cuts and multipliers; a leaf may name what it uses."""
    named = repeat(-1) if used is None else iter(used)
    cuts = [split for split in shape if split is not None]
    nodes = list(dict.fromkeys(split.node for split in cuts))
    numbers = [(-1, next(named)) if split is None else (nodes.index(split.node), split.entry) for split in shape]
    return {
        "nodes": nodes,
        "shape": torch.tensor(numbers),
        "kinks": torch.tensor([split.kink for split in cuts], dtype=torch.float64),
        "multipliers": torch.tensor([step.multiplier for path in paths for step in path], dtype=torch.float64),
    }


def _rows_slopes(slopes: Mapping[str, RowSlopes]) -> dict[str, tuple[Tensor, Tensor, Tensor | None]]:
    return {name: (part.places, part.lower, part.upper) for name, part in slopes.items()}


def _where_free(slope: Tensor, window: Window | None, limits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the places of a rectifier where the slopes of rows (r, *part) are free, and those there, (r, m)."""
    low, high = (cropped(limit[0, 0], window) for limit in limits)
    places = torch.arange(limits[0].numel()).view(limits[0].shape[2:])
    free = low < high
    return cropped(places, window)[free], slope.to(low.dtype).clamp(low, high)[:, free]


def _curves(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.kind, _CURVES) and node.name not in graph.constant]


def _for_rows(pair: Slopes, chosen: Tensor | None) -> Slopes:
    """Return slopes with an axis of rows: one set for all rows, or one per row where each chose its own."""
    upper = None if pair[1] is None else pair[1].unsqueeze(0)
    return (pair[0].unsqueeze(0) if chosen is None else chosen[0]), upper


def _lowered(bound: float) -> float:
    return bound - min(abs(bound) / 2, 2.0**-16 * (1 + abs(bound)))
