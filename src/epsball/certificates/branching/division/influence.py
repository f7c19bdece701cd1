"""How much each input may move a network's outputs: what decides across which input a box is halved."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.propagation import Propagation
from epsball.graph import Node
from epsball.graph.kinds import Compare, Input, Multiply, Round, Select

MOST_INPUTS = 64
"""Inputs up to which it is computed: it carries one column per input."""


def influence(bounds: Propagation) -> Float[Tensor, "n d classes"] | None:
    """Return S, abs(W_L) D_(L-1) abs(W_(L-1)) ... D_1 abs(W_1): one column per input, carried forward.

    W are the affine nodes, D the slopes of the lines above functions of one variable: 1 and 0 where a ReLU's sign is
    known, that of its chord elsewhere. Of a product a b it is abs(b) times the column of a plus abs(a) times that of b;
    of a comparison, a choice or rounding the sum of the inputs' columns, times the node's width over theirs. No terms
    cancel, so that an input counts which acts through the width of relaxations only. None where a node is of another
    kind, or there are too many inputs.

    References
    ----------
    The smear of Wang et al., "Formal security analysis of neural networks using symbolic intervals" (USENIX Security
    2018), with chords' slopes in place of intervals of gradients.
    """
    graph, n = bounds.graph, len(bounds.domain)
    d = math.prod(graph.input.shape)
    if d > MOST_INPUTS:
        return None
    columns: dict[str, Tensor] = {}
    for node in graph.nodes:
        shape = (n, d, *node.shape)
        if isinstance(node.kind, Input):
            columns[node.name] = torch.eye(d, dtype=torch.float64).view(1, d, *node.shape).expand(shape)
        elif node.name in graph.constant:
            columns[node.name] = torch.zeros(1, 1, *(1,) * len(node.shape), dtype=torch.float64).expand(shape)
        else:
            own = _of_node(bounds, node, columns)
            if own is None:
                return None
            columns[node.name] = own
    return columns[graph.output]


def _of_node(bounds: Propagation, node: Node, columns: Mapping[str, Tensor]) -> Tensor | None:
    """Return a node's columns from those of its inputs; None if its kind is none of those that `influence` knows."""
    form, given = bounds.form(node), [columns[name] for name in bounds.sources(node)]
    if form is not None:
        return form.spread(*(column.flatten(0, 1) for column in given)).unflatten(0, given[0].shape[:2])
    lines = bounds.relaxation(node)
    if isinstance(lines, LinearRelaxation):
        return given[0] * torch.maximum(lines.upper_slope.abs(), lines.lower_slope.abs())
    if isinstance(node.kind, Multiply):
        a, b = (box.magnitude.unsqueeze(1) for box in bounds.inputs(node))
        return given[0] * b + given[1] * a
    if isinstance(node.kind, Compare | Select | Round):
        return _at_jumps(bounds, node, given)
    return None


def _at_jumps(bounds: Propagation, node: Node, given: Sequence[Tensor]) -> Tensor | None:
    """Return the columns of a node that jumps: a box that is narrow around a jump has large ones."""
    boxes, out = bounds.inputs(node), bounds.boxes[node.name]
    if any(box.low.ndim != out.low.ndim for box in boxes):
        return None
    nothing = torch.zeros((), dtype=torch.float64)
    widths = sum((box.high - box.low for box in boxes), start=nothing)
    share = ((out.high - out.low) / widths).nan_to_num(0.0, 0.0, 0.0)
    return sum(given, start=nothing) * share.unsqueeze(1)
