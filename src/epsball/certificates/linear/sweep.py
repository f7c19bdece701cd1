"""The backward sweep: rows over one node carried back to the input."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from epsball.certificates.affine import Affine
from epsball.certificates.arithmetic import SLACK
from epsball.certificates.curves import Lines
from epsball.certificates.linear.rows import Rows, through_convolution
from epsball.certificates.propagation import Propagation, node_size
from epsball.certificates.rule import Pulled
from epsball.certificates.rules import rule_of
from epsball.certificates.tensors import dot
from epsball.graph import Node
from epsball.graph.kinds import Constant, Convolution, Input

Slopes = Mapping[str, Tensor]
"""Lower slopes by node, (n, r or 1, *shape), in place of those that the relaxation chose."""


@dataclass(kw_only=True)
class Sweep:
    """The state of a sweep: A . z >= sum over pending nodes of rows . value + total - error."""

    bounds: Propagation
    slopes: Slopes
    pending: dict[str, Rows] = field(default_factory=dict)
    total: Tensor | float = 0.0
    error: Tensor | float = 0.0

    def add(self, constant: Tensor, error: Tensor | float = 0.0) -> None:
        """Add a constant to the bound; the addition is off by a unit of its result."""
        self.total = self.total + constant
        own = self.bounds.arithmetic.own
        if own is not None:
            self.error = self.error + error + 2 * own.unit * self.total.abs()

    def pend(self, name: str, rows: Rows) -> None:
        """Add rows over a node."""
        if name in self.pending:
            rows = self.pending[name].plus(rows, self.bounds.graph[name].shape)
        self.pending[name] = rows

    def charge(self, rows: Rows, rounding: Tensor | None) -> None:
        """Count what the rows lose to rounding at their node."""
        if rounding is not None:
            self.error = self.error + dot(rows.values.abs(), rows.crop(rounding))


def sweep(
    bounds: Propagation,
    start: str,
    rows: Rows,
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
        Nodes that are not carried further: their boxes bound them.
    """
    state = Sweep(bounds=bounds, slopes=slopes or {}, pending={start: rows})
    nodes = bounds.graph.nodes
    begun = False
    for node in reversed(nodes):
        begun = begun or node.name == start
        if begun and node.name in state.pending:
            taken = state.pending.pop(node.name)
            if node.name in stop:
                _stop_at(state, node, taken)
            else:
                _step(state, node, taken)
    return _rounded_down(state)


def _step(state: Sweep, node: Node, rows: Rows) -> None:
    """Carry rows over a node to its inputs."""
    bounds = state.bounds
    if isinstance(node.kind, Input):
        _reach_input(state, rows)
        return
    if isinstance(node.kind, Constant):
        value = rows.crop(bounds.boxes[node.name].low)
        gamma = 0.0 if bounds.arithmetic.own is None else bounds.arithmetic.own.gamma(node_size(node) + 2)
        state.add(dot(rows.values, value), gamma * dot(rows.values.abs(), value.abs()))
        return
    state.charge(rows, bounds.rounding[node.name])
    form = bounds.form(node)
    if form is None:
        _through_rule(state, node, rows)
    elif isinstance(node.kind, Convolution) and not node.kind.transposed:
        _add_bias(state, node, rows, form.bias)
        source = node.inputs[0]
        weight, shape = bounds.parameters[node.kind.weight], bounds.graph[source].shape
        state.pend(source, through_convolution(rows, weight, node.kind, shape, bounds.matrices))
    else:
        _through_affine(state, node, rows, form)


def _through_affine(state: Sweep, node: Node, rows: Rows, form: Affine) -> None:
    """Replace A . (sum_i W_i x_i + w) by sum_i (A W_i) . x_i + A . w."""
    if not form.pointwise:
        rows = Rows(rows.dense(node.shape))
    _add_bias(state, node, rows, form.bias)
    for source, pulled in zip(state.bounds.sources(node), form.transpose(rows.values.flatten(0, 1)), strict=True):
        state.pend(source, Rows(pulled.unflatten(0, rows.values.shape[:2]), rows.window))


def _add_bias(state: Sweep, node: Node, rows: Rows, bias: Tensor | None) -> None:
    if bias is not None:
        state.add(dot(rows.values, rows.crop(bias.expand(1, *node.shape))))


def _through_rule(state: Sweep, node: Node, rows: Rows) -> None:
    """Replace a node that is not affine by the lines around it."""
    bounds = state.bounds
    relaxation = bounds.relaxation(node)
    if isinstance(relaxation, Lines):
        slope = state.slopes.get(node.name)
        if slope is not None:
            relaxation = relaxation._replace(lower_slope=slope)
        relaxation = Lines(*(rows.crop(part) for part in relaxation))
    else:
        rows = Rows(rows.dense(node.shape))
    pulled: Pulled = rule_of(node).pull(bounds.site(node), relaxation, rows.values)
    state.add(pulled.constant, pulled.error)
    for source, values in zip(node.inputs, pulled.rows, strict=True):
        state.pend(source, Rows(values, rows.window))


def _reach_input(state: Sweep, rows: Rows) -> None:
    """Add the least value over the domain; its rounding is within gamma_{d+8} of abs(A) . m."""
    bounds = state.bounds
    least = bounds.domain.least(rows.values, rows.crop)
    own = bounds.arithmetic.own
    if own is None:
        state.add(least)
        return
    magnitude = rows.crop(bounds.domain.magnitude())
    state.add(least, own.gamma(magnitude[0].numel() + 8) * dot(rows.values.abs(), magnitude))


def _stop_at(state: Sweep, node: Node, rows: Rows) -> None:
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
    """Return total - error, rounded down: a NaN is no bound."""
    total = state.total
    if not isinstance(total, Tensor):
        raise ValueError("a sweep without rows")
    if state.bounds.arithmetic.own is None:
        return total
    error = SLACK * (state.error + state.bounds.underflow.unsqueeze(1))
    lower = torch.nextafter(total - error, total.new_tensor(-torch.inf))
    return torch.where(lower.isnan(), -torch.inf, lower)
