"""Linear bounds carried forward: every neuron lies between two linear functions of the network's input.

One pass carries d columns, one per entry of the input, however many neurons are bounded: for networks of few inputs
and wide layers it costs less than one row per unstable neuron. Its bounds are looser than those of backward sweeps,
because the lines around a node are chosen once for everything that comes after it.

References
----------
Zhang et al., "Efficient neural network robustness certification with general activation functions" (NeurIPS 2018);
Xu et al., "Automatic perturbation analysis for scalable certified robustness and beyond" (NeurIPS 2020), "forward".
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.affine import Affine
from epsball.certificates.arithmetic import SLACK
from epsball.certificates.box import Box
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.coefficients import room_for
from epsball.certificates.linear.refinement import neurons_per_node, neurons_to_refine, refiner
from epsball.certificates.propagation import Propagation, Refine
from epsball.certificates.tensors import flat
from epsball.graph import Graph, Node
from epsball.graph.kinds import Constant, Input


class Form(NamedTuple):
    """Bounds of a value z as functions of the input x: abs(z - (middle . x + centre)) <= spread . x + radius.

    ``middle`` and ``spread`` are (n, d, *shape), ``centre`` and ``radius`` (n, *shape); exact in real arithmetic on
    the numbers stored, for every x in the domain and, under a float32 claim, for what the deployed network computes.
    """

    middle: Tensor
    centre: Tensor
    spread: Tensor
    radius: Tensor

    def magnitude(self, most: Tensor) -> Tensor:
        """Return (abs(middle) + abs(spread)) . m + abs(centre) + radius, (n, *shape), for abs(x) <= m, (n, d)."""
        columns = most.view(*most.shape, *(1,) * (self.middle.ndim - 2))
        return ((self.middle.abs() + self.spread.abs()) * columns).sum(dim=1) + self.centre.abs() + self.radius


def forward_refiner(max_memory: int | None = None) -> Refine:
    """Return a `Refine` that bounds a node forward if it has more unstable neurons than the input has entries.

    Other nodes get backward sweeps, which are cheaper there and tighter. Forms are made only when one is needed.
    One refiner serves one propagation.
    """
    forms: dict[str, Form] = {}
    backward = refiner(max_memory)

    def refine(bounds: Propagation, node: Node) -> Box:
        wanted = neurons_to_refine(bounds, node)
        if wanted is None or int(flat(wanted, 1).sum(dim=1).max()) <= math.prod(bounds.graph.input.shape):
            return backward(bounds, node)
        _extend(forms, bounds, node)
        return bounds.boxes[node.name].intersected(box_of(forms[node.name], bounds))

    return refine


def forward_passes(bounds: Propagation) -> Tensor:
    """Return the passes of `forward_refiner`, given interval bounds, (n,).

    Two columns for each entry of the input, where any node is bounded forward; elsewhere two rows for each neuron.
    """
    columns = math.prod(bounds.graph.input.shape)
    counts = neurons_per_node(bounds)
    backward = [count for count in counts if int(count.max()) <= columns]
    total = torch.full((len(bounds.domain),), 2 * columns * (len(backward) < len(counts)), dtype=torch.int64)
    return sum((2 * count for count in backward), start=total)


def examples_at_once(graph: Graph, max_memory: int | None) -> int:
    """Return how many examples' forms fit into the cache, or into `max_memory`; at least one."""
    columns = 2 * 8 * math.prod(graph.input.shape)
    return max(1, room_for(max_memory) // (columns * max(math.prod(node.shape) for node in graph.nodes)))


def _extend(forms: dict[str, Form], bounds: Propagation, node: Node) -> None:
    """Add the forms of a node and of all before it."""
    for other in bounds.graph.nodes:
        if other.name not in forms and other.name in bounds.boxes:
            forms[other.name] = form_of(bounds, other, forms)
        if other.name == node.name:
            break


def form_of(bounds: Propagation, node: Node, forms: dict[str, Form]) -> Form:
    """Return a node's form from those of its sources; of a kind without lines, its box."""
    if isinstance(node.kind, Input):
        return _identity(bounds)
    if isinstance(node.kind, Constant):
        return _of_box(bounds, node)
    affine = bounds.form(node)
    sources = [forms[name] for name in bounds.sources(node)]
    if affine is not None:
        found = _through_affine(bounds, affine, sources)
    elif isinstance(lines := bounds.relaxation(node), LinearRelaxation):
        found = _through_lines(bounds, lines, sources[0])
    else:
        return _of_box(bounds, node)
    rounding = bounds.rounding[node.name]
    return found if rounding is None else found._replace(radius=found.radius + rounding)


def box_of(form: Form, bounds: Propagation) -> Box:
    """Return the least and greatest value over the domain, rounded outward."""
    domain = bounds.domain
    shape = (len(form.centre), *form.centre.shape[1:])

    def least(columns: Tensor) -> Tensor:
        rows = flat(columns, 2).transpose(1, 2).unflatten(2, bounds.graph.input.shape)
        return domain.least(rows, lambda part: part).view(shape)

    low = least(form.middle - form.spread) + (form.centre - form.radius)
    high = (form.centre + form.radius) - least(-form.middle - form.spread)
    own = bounds.arithmetic.own
    if own is None:
        return Box(low, high)
    most = domain.magnitude().flatten(1)
    doubt = 2 * own.gamma(most.shape[1] + 16) * form.magnitude(most) + own.tiny
    return Box(low, high).widened(SLACK * doubt).sound()


def _identity(bounds: Propagation) -> Form:
    shape, low = bounds.graph.input.shape, bounds.domain.box.low
    n, d = len(low), math.prod(shape)
    middle = torch.eye(d, dtype=low.dtype, device=low.device).view(1, d, *shape).expand(n, d, *shape)
    return Form(middle, torch.zeros_like(low), torch.zeros_like(middle), torch.zeros_like(low))


def _of_box(bounds: Propagation, node: Node) -> Form:
    n, d = len(bounds.domain), math.prod(bounds.graph.input.shape)
    low, high = (end.expand(n, *node.shape) for end in bounds.boxes[node.name])
    centre = 0.5 * (low + high)
    radius = torch.maximum(high - centre, centre - low)
    if bounds.arithmetic.own is not None:
        radius = radius * (1 + 4 * bounds.arithmetic.own.unit)
    columns = low.new_zeros(n, d, *node.shape)
    return Form(columns, centre, columns, radius)


def _through_affine(bounds: Propagation, affine: Affine, sources: list[Form]) -> Form:
    """Return W middle and abs(W) spread, W centre + w and abs(W) radius, and what computing them lost.

    The linear part of an affine function is its derivative.
    """
    lead = sources[0].middle.shape[:2]
    middles = tuple(form.middle.flatten(0, 1) for form in sources)
    middle = torch.func.jvp(affine.apply, tuple(map(torch.zeros_like, middles)), middles)[1]
    spread = affine.spread(*(form.spread.flatten(0, 1) for form in sources))
    radius = affine.spread(*(form.radius for form in sources))
    own = bounds.arithmetic.own
    if own is not None and not affine.exact:
        most = bounds.domain.magnitude().flatten(1)
        size = affine.magnitude(*(form.magnitude(most) for form in sources))
        underflow = own.tiny * (affine.terms + 8) * (1 + most.sum(dim=1))
        radius = radius + SLACK * 2 * own.gamma(affine.terms + 8) * size + _spread_out(underflow, radius)
    centre = affine.apply(*(form.centre for form in sources))
    return Form(middle.unflatten(0, lead), centre, spread.unflatten(0, lead), radius)


def _through_lines(bounds: Propagation, lines: LinearRelaxation, source: Form) -> Form:
    """Return the middle and half the width of a z + c and s z + t, for z between the source's two bounds.

    Below a (M x + m) + c - abs(a) (H x + h), above s (M x + m) + t + abs(s) (H x + h).
    """
    a, c, s, t = (part[:, 0] for part in lines)
    mean, size = 0.5 * (a + s), 0.5 * (a.abs() + s.abs())
    slant, skew = 0.5 * (s - a), 0.5 * (s.abs() - a.abs())
    middle = mean.unsqueeze(1) * source.middle + skew.unsqueeze(1) * source.spread
    spread = slant.unsqueeze(1) * source.middle + size.unsqueeze(1) * source.spread
    centre = mean * source.centre + skew * source.radius + 0.5 * (c + t)
    radius = slant * source.centre + size * source.radius + 0.5 * (t - c)
    own = bounds.arithmetic.own
    if own is not None:
        most = bounds.domain.magnitude().flatten(1)
        magnitude = 2 * size * source.magnitude(most) + c.abs() + t.abs()
        underflow = _spread_out(own.tiny * (1 + most.sum(dim=1)), radius)
        radius = radius + SLACK * own.gamma(16) * magnitude + underflow
    return Form(middle, centre, spread, radius)


def _spread_out(per_example: Tensor, like: Tensor) -> Tensor:
    return per_example.view(-1, *(1,) * (like.ndim - 1))
