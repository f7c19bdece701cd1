"""Intervals through the graph: `propagate`, and what the linear bounds take from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from epsball.certificates.affine import Affine, affine_form
from epsball.certificates.arithmetic import OVERFLOW, Arithmetic, Format, check_gradual_underflow
from epsball.certificates.box import Box
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.domain import Domain
from epsball.certificates.rules.rule import NodeContext
from epsball.certificates.rules.table import rule_of
from epsball.certificates.tensors import flat
from epsball.errors import UnsupportedOperation
from epsball.graph import Graph, Node
from epsball.graph.kinds import Constant, Elementwise, Input, Mean, Parameters, Sum


@dataclass(kw_only=True)
class Propagation:
    """Bounds on every node, and on the rounding at every node.

    Parameters
    ----------
    graph, parameters, domain, arithmetic
        What is bounded, where, and under which claim.
    boxes
        Bounds on the value of each node: under a float32 claim, on what the deployed network computes.
    rounding
        For each node a vector e, (n or 1, *shape), such that rows A over the node lose at most abs(A) . e to the
        node's deployed rounding and to the verifier's own in carrying A through it; None where they lose nothing.
    underflow
        For each example, (n,), what underflow in float64 may cost a bound.
    matrices, fused
        Kept by sweeps: the transposed convolutions of small windows, as matrices; the lines around functions of one
        variable, fused with the affine nodes before them.
    inside
        Where tensors are over windows (`linear.places`): 1 inside each node, 0 beyond its borders.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import REAL, Domain, propagate
    >>> from epsball.graph import capture
    >>> graph = capture(torch.nn.ReLU(), (2,))
    >>> bounds = propagate(graph, Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]])), REAL)
    >>> bounds.boxes[graph.output].low
    tensor([[0.7000, 0.2000]], dtype=torch.float64)
    """

    graph: Graph
    parameters: Parameters
    domain: Domain
    arithmetic: Arithmetic
    boxes: dict[str, Box] = field(default_factory=dict)
    rounding: dict[str, Tensor | None] = field(default_factory=dict)
    underflow: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    matrices: dict[Any, Tensor] = field(default_factory=dict)
    fused: dict[str, LinearRelaxation] = field(default_factory=dict)
    inside: dict[str, Tensor] = field(default_factory=dict)
    _forms: dict[str, Affine | None] = field(default_factory=dict)
    _relaxations: dict[str, Any] = field(default_factory=dict)

    def form(self, node: Node) -> Affine | None:
        """Return the node's affine form, or None."""
        if node.name not in self._forms:
            self._forms[node.name] = affine_form(node, self.graph, self.parameters)
        return self._forms[node.name]

    def context(self, node: Node) -> NodeContext:
        """Return the node as its rule sees it."""
        return NodeContext(node=node, graph=self.graph, parameters=self.parameters)

    def sources(self, node: Node) -> tuple[str, ...]:
        """Return the inputs that the node's form takes: all but the constants that are part of it."""
        form = self.form(node)
        return node.inputs if form is None or form.takes is None else tuple(node.inputs[i] for i in form.takes)

    def inputs(self, node: Node) -> list[Box]:
        """Return the boxes of the node's sources."""
        return [self.boxes[name] for name in self.sources(node)]

    def relaxation(self, node: Node) -> Any:
        """Return the node's linear relaxation over the boxes of its inputs, made once."""
        if node.name not in self._relaxations:
            self._relaxations[node.name] = rule_of(node).relax(self.context(node), self.inputs(node))
        return self._relaxations[node.name]

    def take(self, rows: slice) -> "Propagation":
        """Return the propagation of some examples; tensors are views."""
        if rows == slice(0, len(self.domain)):
            return self
        return Propagation(
            graph=self.graph,
            parameters=self.parameters,
            domain=self.domain.take(rows),
            arithmetic=self.arithmetic,
            boxes={name: box.take(rows) for name, box in self.boxes.items()},
            rounding={name: _rows(error, rows) for name, error in self.rounding.items()},
            underflow=_rows(self.underflow, rows),
            matrices=self.matrices,
            fused={name: _rows(lines, rows) for name, lines in self.fused.items()},
            _forms=self._forms,
            _relaxations={name: _rows(relaxation, rows) for name, relaxation in self._relaxations.items()},
        )


Refine = Callable[[Propagation, Node], Box]
"""Given bounds on a node and on all before it, better bounds on the node."""


def propagate(
    graph: Graph,
    domain: Domain,
    arithmetic: Arithmetic,
    *,
    parameters: Parameters | None = None,
    boxes: Mapping[str, Box] | None = None,
    refine: Refine | None = None,
) -> Propagation:
    """Return bounds on every node over the domain, in the order of the graph.

    Differentiable in the parameters and the domain where `arithmetic` is `PLAIN`, which covers no rounding.

    Parameters
    ----------
    graph, domain, arithmetic
        What is bounded, where, and under which claim.
    parameters
        Used in place of the graph's own, in the domain's type. By default the graph's own, in float64.
    boxes
        Bounds on some nodes that are known already.
    refine
        Called for every node once it has bounds, to return better ones.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import FLOAT32, Domain, propagate
    >>> from epsball.graph import capture
    >>> graph = capture(torch.nn.Sigmoid(), (2,))
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.5, 0.5]]))
    >>> propagate(graph, domain, FLOAT32).boxes[graph.output].high
    tensor([[0.6457, 0.6457]], dtype=torch.float64)
    """
    if arithmetic.own is not None:
        check_gradual_underflow()
    if parameters is None:
        parameters = {name: tensor.detach().to(torch.float64) for name, tensor in graph.parameters.items()}
    bounds = Propagation(graph=graph, parameters=parameters, domain=domain, arithmetic=arithmetic)
    for node in graph.nodes:
        box, magnitude, deployed = _bounds(bounds, node)
        if node.name == graph.output and arithmetic.deployed is not None:
            box, deployed = _flushed(box, deployed, arithmetic.deployed)
        if boxes is not None and node.name in boxes:
            box = box.intersected(boxes[node.name])
        bounds.boxes[node.name] = box
        bounds.rounding[node.name] = rounding_at(bounds, node, magnitude, deployed)
        if refine is not None:
            bounds.boxes[node.name] = refine(bounds, node)
        if arithmetic.own is not None:
            bounds.underflow = bounds.underflow + _underflow(bounds.boxes[node.name])
    return bounds


def _bounds(bounds: Propagation, node: Node) -> tuple[Box, Tensor | None, Tensor | float]:
    """Return a node's box, the magnitude of what its value is summed from, and its deployed rounding."""
    if isinstance(node.kind, Input):
        return bounds.domain.box, None, 0.0
    if isinstance(node.kind, Constant):
        value = node.kind.forward(parameters=bounds.parameters)
        if not bool(value.isfinite().all()):
            raise UnsupportedOperation(
                f"no bounds with the constant '{node.kind.parameter}' ({node.origin or 'no origin'}), which is not "
                "finite. Only a logit may be masked by -inf: give a finite number."
            )
        return Box(value, value), None, 0.0
    form = bounds.form(node)
    if form is not None:
        box, magnitude, deployed = _affine_bounds(form, bounds.inputs(node), bounds.arithmetic)
        if _sums_squares(bounds.graph, node):
            box = Box(box.low.clamp(min=0.0), box.high)
        return box, magnitude, deployed
    rule, context, boxes = rule_of(node), bounds.context(node), bounds.inputs(node)
    box = rule.interval(context, boxes)
    own, deployed = bounds.arithmetic.own, bounds.arithmetic.deployed
    if own is None:
        return box, None, 0.0
    error = 0.0
    for format in (own,) if deployed is None else (own, deployed):
        error = rule.error(context, boxes, box, format)
        at_low, at_high = (rule.error(context, boxes, Box(end, end), format) for end in box)
        box = Box(box.low - at_low, box.high + at_high)
    box = box.sound()
    if deployed is None:
        error = 0.0
    elif isinstance(error, Tensor):
        error = torch.where(rule.intermediate(context, boxes, box) <= OVERFLOW, error, torch.inf)
        box = Box(torch.where(error.isinf(), -torch.inf, box.low), torch.where(error.isinf(), torch.inf, box.high))
    return Box(box.low.clamp(min=rule.floor(context, boxes)), box.high), None, error


def _sums_squares(graph: Graph, node: Node) -> bool:
    """Return whether a node sums squares: no rounding makes that negative, and a root may stand on it."""
    source = graph[node.inputs[0]].kind
    squares = isinstance(source, Elementwise) and source.function == "square"
    return squares and isinstance(node.kind, Sum | Mean)


def _flushed(box: Box, deployed: Tensor | float, format: Format) -> tuple[Box, Tensor]:
    """Return the box of the logits and their deployed rounding, where subnormal ones may be taken for 0.

    Kinds that only move or compare values pass this on; every other kind counts it for its inputs.
    """
    return box.widened(format.tiny), torch.full_like(box.low, format.tiny) + deployed


def _affine_bounds(form: Affine, boxes: list[Box], arithmetic: Arithmetic) -> tuple[Box, Tensor | None, Tensor | float]:
    """Return a box around the values at all points, the magnitude, and the deployed rounding."""
    if form.exact:
        return Box(form.apply(*(box.low for box in boxes)), form.apply(*(box.high for box in boxes))), None, 0.0
    if arithmetic.own is None:
        middle = form.apply(*(0.5 * (box.low + box.high) for box in boxes))
        half = form.spread(*(0.5 * (box.high - box.low) for box in boxes))
        return Box(middle - half, middle + half), None, 0.0
    sizes = [box.magnitude for box in boxes]
    magnitude = form.magnitude(*sizes)
    error = 0.0 if arithmetic.deployed is None else deployed_rounding(form, sizes, magnitude, arithmetic.deployed)
    if form.signs is not None:
        return _monotone_bounds(form, boxes, arithmetic), magnitude, error
    middle, half = _middle_and_half(form, boxes)
    doubt = 2 * arithmetic.own.gamma(form.terms + 6) * magnitude + arithmetic.own.tiny + error
    return Box(middle - half - doubt, middle + half + doubt).sound(), magnitude, error


def _middle_and_half(form: Affine, boxes: list[Box]) -> tuple[Tensor, Tensor]:
    """Return W c + w and abs(W) h for middles c and half-widths h.

    With m = max(abs(l), abs(u)) = abs(c) + h every rounding is within gamma of abs(W) m + abs(w), the magnitude.
    """
    middles = [0.5 * (box.low + box.high) for box in boxes]
    halves = [torch.maximum(box.high - middle, middle - box.low) for box, middle in zip(boxes, middles, strict=True)]
    return form.apply(*middles), form.spread(*halves)


def _monotone_bounds(form: Affine, boxes: list[Box], arithmetic: Arithmetic) -> Box:
    """Return the values at the ends, each off by its own rounding only.

    Rounding is monotone, so sums whose coefficients have one sign an input are monotone as computed, in any one
    order: at no point is the result beyond that at the ends.
    """
    signs = form.signs or ()
    ends = []
    for which in (1, -1):
        points = [box.low if sign == which else box.high for box, sign in zip(boxes, signs, strict=True)]
        sizes = [point.abs() for point in points]
        magnitude = form.magnitude(*sizes)
        doubt = (
            0.0
            if arithmetic.own is None
            else 2 * arithmetic.own.gamma(form.terms + 6) * magnitude + arithmetic.own.tiny
        )
        if arithmetic.deployed is not None:
            doubt = doubt + deployed_rounding(form, sizes, magnitude, arithmetic.deployed)
        ends.append(form.apply(*points) - which * doubt)
    return Box(*ends).sound()


def deployed_rounding(form: Affine, sizes: list[Tensor], magnitude: Tensor, deployed: Format) -> Tensor:
    """Return gamma_{n+1} (abs(W) m + abs(w)), plus what underflow costs; infinite where a kernel may overflow.

    A product that underflows, or whose factor is flushed to zero, is off by at most
    tiny (1 + abs(W_i) + abs(x_i)), a sum that is flushed by tiny. Of n products those with an x_i that is always
    0 do not count: they are 0, and to add 0 is exact.
    """
    most = max(size.max().item() for size in sizes)
    underflow = deployed.tiny * (form.terms + 1) * (2 + form.largest + most) * form.flush
    if form.products is None:
        gamma = magnitude.new_tensor([deployed.gamma(form.terms + 1)])
    else:
        varying = flat(sizes[0], 1).count_nonzero(dim=1).clamp(max=form.products).tolist()
        gamma = magnitude.new_tensor([deployed.gamma(n + 1) for n in varying])
    error = gamma.view(-1, *(1,) * (magnitude.ndim - 1)) * magnitude + underflow
    met = magnitude if form.inner is None else torch.maximum(magnitude, form.inner(sizes[0], magnitude))
    return torch.where(met <= OVERFLOW, error, torch.inf)


def rounding_at(bounds: Propagation, node: Node, magnitude: Tensor | None, deployed: Tensor | float) -> Tensor | None:
    """Return e (see `Propagation`), from the roundings of docs/soundness.md, "Carrying rows backwards".

    Rows over the node have been multiplied by a slope, and added up over the node's consumers: gamma_{2 + consumers}
    of abs(A) abs(value). Carrying them through an affine node costs gamma_terms abs(A) (abs(W) m), and their
    product with the bias, a sum over the whole node, gamma_size abs(A) abs(w).
    """
    own = bounds.arithmetic.own
    if own is None or isinstance(node.kind, Constant):
        return None
    form = bounds.form(node) if not isinstance(node.kind, Input) else None
    consumers = [other for other in bounds.graph.nodes if node.name in other.inputs]
    error = deployed if isinstance(deployed, Tensor) else None
    through_affine = len(consumers) == 1 and bounds.form(consumers[0]) is not None
    if magnitude is None:
        moves_only = form is None or form.terms == 0
        if through_affine and moves_only:
            return error
        magnitude = bounds.boxes[node.name].magnitude
    terms = 0 if form is None else form.terms
    total = own.gamma(terms + len(consumers) + 8) * magnitude
    if form is not None and form.bias is not None:
        size = node_size(node)
        total = total + own.gamma(size + 2) * form.bias.abs()
    return total if error is None else total + error


def _underflow(box: Box) -> Tensor:
    """Return what underflows in coefficients over a node, and in their products with it, may cost, (n,).

    Each is off by at most 2^-1075, and there are fewer than 2^70 of them per entry of the box.
    """
    magnitude = flat(box.magnitude, 1)
    magnitude = torch.where(magnitude.isfinite(), magnitude, 0.0)
    return 2.0**-1000 * (magnitude.sum(dim=1) + magnitude.shape[1])


def node_size(node: Node) -> int:
    """Return the number of entries of a node's value."""
    size = 1
    for length in node.shape:
        size *= length
    return size


def _rows(part: Any, rows: slice) -> Any:
    """Return some examples of a tensor or of a tuple of such; what all share stays as it is."""
    if isinstance(part, Tensor):
        return part if len(part) == 1 else part[rows]
    if isinstance(part, tuple):
        parts = (_rows(item, rows) for item in part)
        return type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)
    return part
