"""Lines around a function of one variable, joined with the affine node before it.

Rows A over y = f(x), where c + a x <= f(x) <= t + s x and x = W z + w feeds nothing else, are bounded below by

    A . y >= max(A, 0) . (a W z + (c + a w)) + min(A, 0) . (s W z + (t + s w)).

All that is lost to rounding at y and at x is a sum over the entries of abs(A) too, of e_y + abs(a) e_x where A > 0 and
of e_y + abs(s) e_x where A < 0 (e as in `Propagation`). So it goes into the intercepts, once for all rows.
"""

import torch
from torch import Tensor

from epsball.certificates.arithmetic import SLACK
from epsball.certificates.curves import Lines
from epsball.certificates.propagation import Propagation, node_size
from epsball.graph import Node
from epsball.graph.kinds import Constant, Input


def inner_node(bounds: Propagation, node: Node) -> Node | None:
    """Return the affine node that feeds a function of one variable, and nothing else, or None."""
    if bounds.form(node) is not None or not isinstance(bounds.relaxation(node), Lines):
        return None
    inner = bounds.graph[node.inputs[0]]
    consumers = [other for other in bounds.graph.nodes if inner.name in other.inputs]
    return inner if len(consumers) == 1 and bounds.form(inner) is not None else None


def join_all(bounds: Propagation) -> None:
    """Relax every node bounded so far, once for all examples: `take` has its part of each."""
    for name in bounds.boxes:
        node = bounds.graph[name]
        if isinstance(node.kind, Input | Constant) or bounds.form(node) is not None:
            continue
        bounds.relaxation(node)
        inner = inner_node(bounds, node)
        if inner is not None:
            own_lines(bounds, node, inner)


def own_lines(bounds: Propagation, node: Node, inner: Node) -> Lines:
    """Return the lines with the slopes that the relaxation chose, made once."""
    if node.name not in bounds.lines:
        bounds.lines[node.name] = joined_lines(bounds, node, inner)
    return bounds.lines[node.name]


def joined_lines(bounds: Propagation, node: Node, inner: Node, slope: Tensor | None = None) -> Lines:
    """Return lines around y over W z; they hold whatever the rounding.

    Parameters
    ----------
    bounds, node, inner
        A function of one variable, and the affine node that feeds it.
    slope
        A lower slope in place of the relaxation's own.
    """
    lines: Lines = bounds.relaxation(node)
    if slope is not None:
        lines = lines._replace(lower_slope=slope)
    lower = _intercept(bounds, node, inner, lines.lower, lines.lower_slope, sign=-1)
    upper = _intercept(bounds, node, inner, lines.upper, lines.upper_slope, sign=1)
    return Lines(lines.lower_slope, lower, lines.upper_slope, upper)


def _intercept(bounds: Propagation, node: Node, inner: Node, intercept: Tensor, slope: Tensor, *, sign: int) -> Tensor:
    """Return c + a w, moved outward by e_y + abs(a) e_x and by the rounding of itself and of its product with rows."""
    form = bounds.form(inner)
    bias = torch.zeros_like(intercept) if form is None or form.bias is None else form.bias.expand(1, *inner.shape)
    total = intercept + slope * bias
    own = bounds.arithmetic.own
    if own is None:
        return total
    size = intercept.abs() + (slope * bias).abs()
    loss = torch.zeros_like(size)
    for factor, rounding in ((1.0, bounds.rounding[node.name]), (slope.abs(), bounds.rounding[inner.name])):
        if rounding is not None:
            loss = loss + factor * rounding.unsqueeze(1)
    return total + sign * SLACK * (loss + own.gamma(node_size(node) + 8) * (size + loss))
