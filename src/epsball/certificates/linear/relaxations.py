"""The linear relaxations that a sweep carries rows through, and the lower slopes that rectifiers may have in them.

Lines around a function of one variable are fused with the affine node before it. Rows A over y = f(x), where
c + a x <= f(x) <= t + s x and x = W z + w feeds nothing else, are bounded below by

    A . y >= max(A, 0) . (a W z + (c + a w)) + min(A, 0) . (s W z + (t + s w)).

All that is lost to rounding at y and at x is also a sum over the neurons, of abs(A) e_y + abs(A a) e_x where A > 0 and
of abs(A) e_y + abs(A s) e_x where A < 0 (e as in `Propagation`). So it goes into the intercepts, once for all rows.
"""

import torch
from torch import Tensor

from epsball.certificates.arithmetic import SLACK
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.propagation import Propagation, node_size
from epsball.graph import Node
from epsball.graph.kinds import Constant, Elementwise, Input, PReLU


def inner_node(bounds: Propagation, node: Node) -> Node | None:
    """Return the affine node that feeds a function of one variable, and nothing else, or None."""
    if bounds.form(node) is not None or not isinstance(bounds.relaxation(node), LinearRelaxation):
        return None
    inner = bounds.graph[node.inputs[0]]
    consumers = [other for other in bounds.graph.nodes if inner.name in other.inputs]
    return inner if len(consumers) == 1 and bounds.form(inner) is not None else None


def fuse_all(bounds: Propagation) -> None:
    """Relax every node bounded so far, once for all examples: `take` has its part of each."""
    for name in bounds.boxes:
        node = bounds.graph[name]
        if isinstance(node.kind, Input | Constant) or bounds.form(node) is not None:
            continue
        bounds.relaxation(node)
        inner = inner_node(bounds, node)
        if inner is not None:
            fused(bounds, node, inner)


def fused(bounds: Propagation, node: Node, inner: Node, slope: Tensor | None = None) -> LinearRelaxation:
    """Return lines around y over W z; they hold whatever the rounding.

    Parameters
    ----------
    bounds, node, inner
        A function of one variable, and the affine node that feeds it.
    slope
        A lower slope in place of the relaxation's own. With its own the lines are made once.
    """
    if slope is None and node.name in bounds.fused:
        return bounds.fused[node.name]
    lines: LinearRelaxation = bounds.relaxation(node)
    if slope is not None:
        lines = lines._replace(lower_slope=slope)
    lower = _intercept(bounds, node, inner, lines.lower, lines.lower_slope, sign=-1)
    upper = _intercept(bounds, node, inner, lines.upper, lines.upper_slope, sign=1)
    found = LinearRelaxation(lines.lower_slope, lower, lines.upper_slope, upper)
    if slope is None:
        bounds.fused[node.name] = found
    return found


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


def slope_limits(bounds: Propagation) -> dict[str, tuple[Tensor, Tensor]]:
    """Return for each rectifier bounded so far the least and the largest valid lower slope, (n, 1, *shape)."""
    nodes = [bounds.graph[name] for name in bounds.boxes]
    return {node.name: _limits(bounds, node) for node in nodes if _free(node)}


def _free(node: Node) -> bool:
    """Return whether a node is a rectifier, of which any slope between its two gives a lower line through 0."""
    return isinstance(node.kind, PReLU) or (
        isinstance(node.kind, Elementwise) and node.kind.function in ("relu", "leaky_relu")
    )


def _limits(bounds: Propagation, node: Node) -> tuple[Tensor, Tensor]:
    """Return the least and the largest lower slope that is valid, (n, 1, *shape).

    Where the sign of x is known, or the rectifier is concave (and its lower line a chord), there is no choice.
    """
    lines: LinearRelaxation = bounds.relaxation(node)
    low, high = (part.unsqueeze(1) for part in bounds.boxes[node.inputs[0]])
    free = (low < 0) & (high > 0) & (lines.lower == 0)
    at_minus_one = node.kind.forward(-torch.ones_like(low[:, 0]), parameters=bounds.parameters).unsqueeze(1)
    return (
        torch.where(free, torch.minimum(-at_minus_one, torch.ones_like(low)), lines.lower_slope),
        torch.where(free, 1.0, lines.lower_slope),
    )
