"""Lines around a function of one variable, joined with the affine node before it.

Rows A over y = f(x), where c + a x <= f(x) <= t + s x and x = W z + w feeds nothing else, are bounded below by

    A . y >= max(A, 0) . (a W z + (c + a w)) + min(A, 0) . (s W z + (t + s w)).

All that is lost to rounding at y and at x is a sum over the entries of abs(A) too, of e_y + abs(a) e_x where A > 0 and
of e_y + abs(s) e_x where A < 0 (e as in `Propagation`). So it goes into the intercepts, once for all rows.
"""

from torch import Tensor

from epsball.certificates.arithmetic import SLACK
from epsball.certificates.curves import Lines
from epsball.certificates.propagation import Propagation, node_size
from epsball.graph import Node
from epsball.graph.kinds import Constant, Input


def inner_node(bounds: Propagation, node: Node) -> Node | None:
    """Return the affine node that feeds a function of one variable and nothing else, or None."""
    inner = bounds.graph[node.inputs[0]]
    consumers = [other for other in bounds.graph.nodes if inner.name in other.inputs]
    return inner if len(consumers) == 1 and bounds.form(inner) is not None else None


def join_all(bounds: Propagation) -> None:
    """Relax every node bounded so far, once for all examples: `take` has its part of each."""
    for name in bounds.boxes:
        node = bounds.graph[name]
        if isinstance(node.kind, Input | Constant) or bounds.form(node) is not None:
            continue
        if isinstance(bounds.relaxation(node), Lines):
            own_lines(bounds, node, inner_node(bounds, node))


def own_lines(bounds: Propagation, node: Node, inner: Node | None) -> Lines:
    """Return the lines that the relaxation chose, made once."""
    key = node.name, None if inner is None else inner.name
    if key not in bounds.lines:
        bounds.lines[key] = joined_lines(bounds, node, inner)
    return bounds.lines[key]


def joined_lines(bounds: Propagation, node: Node, inner: Node | None, slope: Tensor | None = None) -> Lines:
    """Return lines around y over W z, or over x where no node is joined; they hold whatever the rounding.

    Parameters
    ----------
    bounds, node, inner
        A node whose relaxation is `Lines`, and the affine node joined with it.
    slope
        A lower slope in place of the relaxation's own.
    """
    lines: Lines = bounds.relaxation(node)
    if slope is not None:
        lines = lines._replace(lower_slope=slope)
    bias = None if inner is None else _bias(bounds, inner)
    rounding = [_axis(bounds.rounding[name]) for name in (node.name, *(() if inner is None else (inner.name,)))]
    lower = _intercept(bounds, node, lines.lower, lines.lower_slope, bias, rounding, sign=-1)
    upper = _intercept(bounds, node, lines.upper, lines.upper_slope, bias, rounding, sign=1)
    return Lines(lines.lower_slope, lower, lines.upper_slope, upper)


def _intercept(
    bounds: Propagation,
    node: Node,
    intercept: Tensor,
    slope: Tensor,
    bias: Tensor | None,
    rounding: list[Tensor | None],
    *,
    sign: int,
) -> Tensor:
    """Return c + a w, moved outward by e_y + abs(a) e_x and by the rounding of itself and of its product with rows."""
    total = intercept if bias is None else intercept + slope * bias
    own = bounds.arithmetic.own
    if own is None:
        return total
    size = intercept.abs() if bias is None else intercept.abs() + (slope * bias).abs()
    loss = sum(factor * error for factor, error in zip((1.0, slope.abs()), rounding, strict=False) if error is not None)
    return total + sign * SLACK * (loss + own.gamma(node_size(node) + 8) * (size + loss))


def _bias(bounds: Propagation, inner: Node) -> Tensor | None:
    form = bounds.form(inner)
    return None if form is None or form.bias is None else form.bias.expand(1, *inner.shape)


def _axis(rounding: Tensor | None) -> Tensor | None:
    """Return a vector (n, *shape) with an axis of length 1 for the rows."""
    return None if rounding is None else rounding.unsqueeze(1)
