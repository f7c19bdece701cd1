"""The backward sweep: rows over one node carried back to the input."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.arithmetic import SLACK
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.coefficients import Coefficients, Reach, room_for, through_convolution
from epsball.certificates.linear.rectified_rows import rectified_rows
from epsball.certificates.linear.relaxations import fuse_all, fused, inner_node
from epsball.certificates.linear.windows import largest_extent
from epsball.certificates.propagation import Propagation, node_size
from epsball.certificates.rules.pointwise import carried
from epsball.certificates.rules.rule import BackwardBound
from epsball.certificates.rules.table import rule_of
from epsball.certificates.tensors import dot
from epsball.graph import Node
from epsball.graph.kinds import Add, Constant, Convolution, Elementwise, Input, Subtract

Slopes = Mapping[str, Tensor]
"""Lower slopes by node, (n, r or 1, *shape), in place of those that the relaxation chose."""


@dataclass(kw_only=True)
class Sweep:
    """The state of a sweep: A . z >= sum over pending nodes of rows . value + total - error.

    Rows of one example, (1, r, *shape), are shared by all.
    """

    bounds: Propagation
    slopes: Slopes
    pending: dict[str, Coefficients]
    total: Tensor
    error: Tensor

    @classmethod
    def of(cls, bounds: Propagation, start: str, rows: Coefficients, slopes: Slopes | None = None) -> "Sweep":
        """Return the state before any step."""
        nothing = rows.values.new_zeros(len(bounds.domain), rows.values.shape[1])
        return cls(bounds=bounds, slopes=slopes or {}, pending={start: rows}, total=nothing, error=nothing)

    def add(self, constant: Tensor, error: Tensor | float = 0.0) -> None:
        """Add a constant to the bound; the addition is off by a unit of its result."""
        self.total = self.total + constant
        own = self.bounds.arithmetic.own
        if own is not None:
            self.error = self.error + error + 2 * own.unit * self.total.abs()

    def pend(self, name: str, rows: Coefficients) -> None:
        """Add rows over a node."""
        if name in self.pending:
            rows = self.pending[name].plus(rows, self.bounds.graph[name].shape)
        self.pending[name] = rows

    def charge(self, rows: Coefficients, rounding: Tensor | None) -> None:
        """Count what the rows lose to rounding at their node."""
        if rounding is not None:
            self.error = self.error + dot(rows.values.abs(), rows.crop(rounding))

    def take(self, images: slice, chosen: Tensor | None, slopes: Slopes) -> "Sweep":
        """Return the state of some examples, and for each of them of the rows (n, k) that it chose of shared ones."""
        pending, total, error = self.pending, self.total[images], self.error[images]
        if chosen is not None:
            pending = {name: _chosen(rows, chosen) for name, rows in pending.items()}
            total, error = total.gather(1, chosen), error.gather(1, chosen)
        return Sweep(bounds=self.bounds.take(images), slopes=slopes, pending=dict(pending), total=total, error=error)


def _chosen(rows: Coefficients, chosen: Tensor) -> Coefficients:
    """Return for each example the rows (n, k) that it chose, of its own or of shared ones."""
    if len(rows.values) == 1:
        return Coefficients(rows.values[0][chosen], rows.window)
    return Coefficients(rows.values[torch.arange(len(chosen)).unsqueeze(1), chosen], rows.window)


def sweep(
    bounds: Propagation,
    start: str,
    rows: Coefficients,
    *,
    slopes: Slopes | None = None,
    stop: Collection[str] = (),
) -> Tensor:
    """Return lower bounds, (n, r), of rows . value of the node `start`, over the domain.

    Parameters
    ----------
    bounds
        Bounds on every ancestor of `start`.
    start, rows
        The node, and coefficients over it.
    slopes
        Lower slopes in place of the relaxations' own, each between the two slopes of its rectifier; the
        result is differentiable in them.
    stop
        Nodes at which rows stop: they are bounded by their boxes.
    """
    return carried_to_input(Sweep.of(bounds, start, rows, slopes), stop=stop)


def final_bounds(
    bounds: Propagation,
    specification: Float[Tensor, "n r classes"],
    *,
    slopes: Slopes | None = None,
    max_memory: int | None = None,
) -> Float[Tensor, "n r"]:
    """Return lower bounds of the specification, carried from the output to the input."""
    found = []
    for images in chunks(bounds, specification, max_memory):
        part = {name: slope[images] for name, slope in (slopes or {}).items()}
        found.append(sweep(bounds.take(images), bounds.graph.output, Coefficients(specification[images]), slopes=part))
    return torch.cat(found)


def final_lines(
    bounds: Propagation, specification: Float[Tensor, "n r classes"], slopes: Slopes | None = None
) -> tuple[Float[Tensor, "n r"], Float[Tensor, "n r *shape"]]:
    """Return the lower bounds L of `final_bounds`, and the coefficients A over the input with which they arose.

    With v the rows' values, exactly, at every point x of the domain: v(x) >= L + A . x - least value of A . x over the
    domain, since L is that least value, rounded down, plus the terms that do not depend on x.
    """
    graph = bounds.graph
    fuse_all(bounds)
    state = Sweep.of(bounds, graph.output, Coefficients(specification), slopes)
    lines = specification.new_zeros(*specification.shape[:2], *graph.input.shape)
    for node in reversed(graph.nodes):
        if node.name in state.pending:
            taken = state.pending.pop(node.name)
            if node is graph.input:
                lines = taken.dense(node.shape).expand_as(lines)
            carried_over(state, node, taken)
    return _rounded_down(state), lines


def chunks(bounds: Propagation, specification: Tensor, max_memory: int | None) -> Iterator[slice]:
    """Yield slices of examples whose rows fit into the cache, or into `max_memory`; at least one example each."""
    graph = bounds.graph
    fuse_all(bounds)
    extent = largest_extent(graph, graph[graph.output], None)
    each = max(1, room_for(max_memory) // (8 * extent * specification.shape[1]))
    for start in range(0, len(specification), each):
        yield slice(start, start + each)


def carried_to_lines(bounds: Propagation, start: str, rows: Coefficients) -> Sweep:
    """Return the state at the first node that is not affine: up to there, rows shared by all examples stay shared."""
    state = Sweep.of(bounds, start, rows)
    for node in reversed(bounds.graph.nodes):
        if node.name in state.pending:
            if bounds.form(node) is None:
                break
            carried_over(state, node, state.pending.pop(node.name))
    return state


def carried_to_input(state: Sweep, *, stop: Collection[str] = ()) -> Tensor:
    """Return the lower bounds once nothing is pending."""
    for node in reversed(state.bounds.graph.nodes):
        if node.name in state.pending:
            taken = state.pending.pop(node.name)
            if node.name in stop:
                _stop_at(state, node, taken)
            else:
                carried_over(state, node, taken, stop)
    return _rounded_down(state)


def carried_over(state: Sweep, node: Node, rows: Coefficients, stop: Collection[str] = ()) -> None:
    """Carry rows over a node to its inputs, and further where the node is fused with an affine one."""
    bounds = state.bounds
    if node.name in bounds.inside and (isinstance(node.kind, Input) or bounds.form(node) is not None):
        rows = Coefficients(rows.values * bounds.inside[node.name], rows.window)
    if isinstance(node.kind, Input):
        own = bounds.arithmetic.own
        state.add(bounds.domain.least(rows.values, rows.crop, None if own is None else own.gamma))
        return
    if isinstance(node.kind, Constant):
        value = rows.crop(bounds.boxes[node.name].low)
        gamma = 0.0 if bounds.arithmetic.own is None else bounds.arithmetic.own.gamma(node_size(node) + 2)
        state.add(dot(rows.values, value), gamma * dot(rows.values.abs(), value.abs()))
        return
    if _is_relu_in_training(state, node):
        _through_relu(state, node, rows)
        return
    inner = inner_node(bounds, node)
    if inner is not None and inner.name not in stop:
        _through_fused(state, node, inner, rows)
        return
    state.charge(rows, bounds.rounding[node.name])
    if bounds.form(node) is not None:
        _through_affine(state, node, rows)
    else:
        _through_rule(state, node, rows)


def _through_affine(state: Sweep, node: Node, rows: Coefficients) -> None:
    """Replace A . (sum_i W_i x_i + w) by sum_i (A W_i) . x_i + A . w."""
    form = state.bounds.form(node)
    if form is not None and form.bias is not None:
        state.add(dot(rows.values, rows.crop_shared(form.bias, node.shape)))
    _through_weights(state, node, rows)


def _through_weights(state: Sweep, node: Node, rows: Coefficients) -> None:
    """Replace A . (sum_i W_i x_i) by sum_i (A W_i) . x_i."""
    bounds, kind = state.bounds, node.kind
    if isinstance(kind, Convolution) and not kind.transposed:
        source = node.inputs[0]
        weight, shape = bounds.parameters[kind.weight], bounds.graph[source].shape
        state.pend(source, through_convolution(rows, weight, kind, shape, bounds.matrices))
        return
    form = bounds.form(node)
    if form is None:
        raise ValueError(f"node '{node.name}' is not affine")
    if isinstance(rows.window, Reach) and isinstance(kind, Add | Subtract):
        for source, sign in zip(node.inputs, (1, 1 if isinstance(kind, Add) else -1), strict=True):
            state.pend(source, Coefficients(sign * rows.values, rows.window))
        return
    if not form.pointwise:
        rows = Coefficients(rows.dense(node.shape))
    for source, over_source in zip(bounds.sources(node), form.transpose(rows.values.flatten(0, 1)), strict=True):
        state.pend(source, Coefficients(over_source.unflatten(0, rows.values.shape[:2]), rows.window))


def _through_fused(state: Sweep, node: Node, inner: Node, rows: Coefficients) -> None:
    """Replace a function of one variable by the lines around it over the inputs of the affine node that feeds it."""
    if state.bounds.arithmetic.own is None:
        _through_lines(state, node, inner, rows)
        return
    lines = fused(state.bounds, node, inner, state.slopes.get(node.name))
    values, constant = carried(lines.map(rows.crop), rows.values)
    state.add(constant)
    _through_weights(state, inner, Coefficients(values, rows.window))


def _through_lines(state: Sweep, node: Node, inner: Node, rows: Coefficients) -> None:
    """Replace a function of one variable by the lines around it, where no rounding is covered, as in training.

    The bias of the affine node is met there, by one product with the rows instead of two with the slopes.
    """
    lines: LinearRelaxation = state.bounds.relaxation(node)
    slope = state.slopes.get(node.name)
    if slope is not None:
        lines = lines._replace(lower_slope=slope)
    values, constant = carried(lines.map(rows.crop), rows.values)
    state.add(constant)
    state.pend(inner.name, Coefficients(values, rows.window))


def _is_relu_in_training(state: Sweep, node: Node) -> bool:
    """Return whether a node is a ReLU with the lines of its box, of which a gradient will be asked."""
    if not isinstance(node.kind, Elementwise) or node.kind.function != "relu" or node.name in state.slopes:
        return False
    if state.bounds.arithmetic.own is not None or not torch.is_grad_enabled():
        return False
    box = state.bounds.boxes.get(node.inputs[0])
    return box is not None and box.low.requires_grad


def _through_relu(state: Sweep, node: Node, rows: Coefficients) -> None:
    """Replace a ReLU by the lines around it, in one operation."""
    low, high = (rows.crop(end) for end in state.bounds.boxes[node.inputs[0]])
    values, constant = rectified_rows(rows.values.expand(len(low), *rows.values.shape[1:]), low, high)
    state.add(constant)
    state.pend(node.inputs[0], Coefficients(values, rows.window))


def _through_rule(state: Sweep, node: Node, rows: Coefficients) -> None:
    """Replace a node that is not affine by what its rule makes of it; only lines apply entry by entry."""
    bounds = state.bounds
    relaxation = bounds.relaxation(node)
    if isinstance(relaxation, LinearRelaxation):
        slope = state.slopes.get(node.name)
        if slope is not None:
            relaxation = relaxation._replace(lower_slope=slope)
        relaxation = relaxation.map(rows.crop)
    else:
        rows = Coefficients(rows.dense(node.shape))
    values = rows.values.expand(len(bounds.domain), *rows.values.shape[1:])
    found: BackwardBound = rule_of(node).backward(bounds.context(node), relaxation, values)
    state.add(found.constant, found.error)
    for source, part in zip(node.inputs, found.rows, strict=True):
        state.pend(source, Coefficients(part, rows.window))


def _stop_at(state: Sweep, node: Node, rows: Coefficients) -> None:
    """Add the least value over the node's box, whose middles and half-widths are off by a unit."""
    box = state.bounds.boxes[node.name]
    low, high = rows.crop(box.low), rows.crop(box.high)
    size = rows.values.abs()
    least = dot(rows.values, 0.5 * (low + high)) - dot(size, 0.5 * (high - low))
    own = state.bounds.arithmetic.own
    if own is None:
        state.add(least)
        return
    gamma = own.gamma(node_size(node) + len(state.bounds.graph.nodes) + 8)
    state.add(least, 2 * gamma * dot(size, rows.crop(box.magnitude)))


def _rounded_down(state: Sweep) -> Tensor:
    """Return total - error, rounded down: a NaN becomes -infinity."""
    total = state.total
    if state.bounds.arithmetic.own is None:
        return total
    error = SLACK * (state.error + state.bounds.underflow.unsqueeze(1))
    lower = torch.nextafter(total - error, total.new_tensor(-torch.inf))
    return torch.where(lower.isnan(), -torch.inf, lower)
