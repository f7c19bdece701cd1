"""Where neurons are worth a cut: entries of nodes that a nonlinear node bends, by what its relaxation loses there."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsball.certificates.curves import LinearRelaxation, curve_of
from epsball.certificates.propagation import Propagation
from epsball.certificates.rules.maxima import Maxima
from epsball.certificates.rules.table import rule_of
from epsball.certificates.tensors import flat
from epsball.graph import Node
from epsball.graph.kinds import Constant, Elementwise, Input, PReLU

_NEAR = 0.2
"""A smooth function is cut where its convexity changes, if that is not nearer to an end than this share of the
interval, and else in the middle."""


class Candidate(NamedTuple):
    """For each example an entry of a node, the value it is cut at, and a score, 0 where nothing is gained; (n,)."""

    score: Float[Tensor, " n"]
    entry: Int[Tensor, " n"]
    at: Float[Tensor, " n"]


def cuttable(bounds: Propagation) -> list[str]:
    """Return the nodes, but the input, that nodes take which are neither affine nor constant."""
    graph = bounds.graph
    taken = [
        name
        for node in graph.nodes
        if not isinstance(node.kind, Input | Constant) and node.name not in graph.constant
        for name in (node.inputs if bounds.form(node) is None else ())
    ]
    return [name for name in dict.fromkeys(taken) if name not in graph.constant and name != graph.input.name]


def candidates(bounds: Propagation, met: Mapping[str, Tensor]) -> Iterator[tuple[str, Candidate]]:
    """Yield nodes with the best entry to cut, given the coefficients of a row over nodes.

    With A the coefficient on y = f(z), a line below costs max(A, 0) (f - line) and one above max(-A, 0) (line - f) at
    worst; of a maximum, the height of the triangle between the greatest entry and the others. Elsewhere the size of
    what z itself may move counts.
    """
    for node in bounds.graph.nodes:
        if node.name not in met or isinstance(node.kind, Input | Constant) or bounds.form(node) is not None:
            continue
        source = node.inputs[0]
        if isinstance(bounds.relaxation(node), LinearRelaxation):
            yield source, _of_curve(bounds, node, met[node.name])
        elif isinstance(rule_of(node), Maxima):
            yield source, _of_maximum(bounds, node, met[node.name])
        else:
            for name in node.inputs:
                if name not in bounds.graph.constant and name in met:
                    yield name, _of_width(bounds, name, met[name])


def _of_curve(bounds: Propagation, node: Node, a: Tensor) -> Candidate:
    low, high = bounds.boxes[node.inputs[0]]
    width, middle = high - low, 0.5 * low + 0.5 * high
    below, under, above, over = (part[:, 0] for part in bounds.relaxation(node))
    lost = torch.zeros_like(a)
    for point in (low, middle, high):
        same = [point] * len(node.inputs)  # A product of z with itself takes it twice.
        value = node.kind.forward(*same, parameters=bounds.parameters)  # pyright: ignore[reportAttributeAccessIssue]
        lost = torch.maximum(lost, a.clamp(min=0) * (value - below * point - under))
        lost = torch.maximum(lost, (-a).clamp(min=0) * (above * point + over - value))
    at, possible = _points(node, low, middle, high)
    possible &= (low < at) & (at < high) & (width > 2.0**-40 * (low.abs() + high.abs()))
    return _best(lost, at, possible)


def _points(node: Node, low: Tensor, middle: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return where a function of one variable is cut, and whether a cut gains anything."""
    kind = node.kind
    if isinstance(kind, PReLU):
        cuts, straight = (0.0,), True
    elif isinstance(kind, Elementwise):
        curve = curve_of(kind.function, kind.arguments)
        cuts, straight = curve.cuts, curve.straight
    else:  # Rounding, or a product of z with itself: in the middle.
        cuts, straight = (), False
    near = 0.0 if straight else _NEAR
    at, best = middle, torch.full_like(low, torch.inf)
    for cut in cuts:
        inside = (cut > low + near * (high - low)) & (cut < high - near * (high - low))
        distance = torch.where(inside, (cut - middle).abs(), torch.inf)
        at, best = torch.where(distance < best, cut, at), torch.minimum(distance, best)
    return at, best.isfinite() if straight else torch.ones_like(best, dtype=torch.bool)


def _of_maximum(bounds: Propagation, node: Node, a: Tensor) -> Candidate:
    """Cut the greatest entry of a window where the others end: above it is the maximum."""
    peak, _ = bounds.relaxation(node)
    low, high = (flat(end, 1) for end in bounds.boxes[node.inputs[0]])
    entry, slope, line = (flat(part, 1) for part in (peak.high, peak.slope, peak.intercept))
    least, most = low.gather(1, entry), high.gather(1, entry)
    start = slope * least + line
    open_ = (start > least) & (start < most) & (slope < 1)
    height = torch.where(open_, (most - start) * (start - least) / (most - least), 0.0)
    best = _best(flat(a, 1).abs() * height, start, open_)
    return best._replace(entry=entry.gather(1, best.entry.unsqueeze(1))[:, 0])


def _of_width(bounds: Propagation, name: str, a: Tensor) -> Candidate:
    low, high = bounds.boxes[name]
    middle = 0.5 * low + 0.5 * high
    return _best(0.25 * a.abs() * (high - low), middle, (low < middle) & (middle < high))


def _best(score: Tensor, at: Tensor, possible: Tensor) -> Candidate:
    score = flat(torch.where(possible, score, 0.0).nan_to_num(0.0, 0.0, 0.0), 1)
    best, entry = score.max(dim=1)
    return Candidate(best, entry, flat(at, 1).gather(1, entry.unsqueeze(1))[:, 0])


def is_rectifier(node: Node) -> bool:
    """Return whether a node's upper line is the chord of what it takes, which files need not hold."""
    return isinstance(node.kind, PReLU) or (
        isinstance(node.kind, Elementwise) and node.kind.function in ("relu", "leaky_relu")
    )
