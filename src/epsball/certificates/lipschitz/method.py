"""The method `lipschitz`: margin at x, less the Lipschitz constant times the radius."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from epsball.certificates.arithmetic import REAL
from epsball.certificates.box import Box
from epsball.certificates.curves import curve_of
from epsball.certificates.domain import Domain
from epsball.certificates.lipschitz.factors import row_norms
from epsball.certificates.lipschitz.local import local_constants
from epsball.certificates.lipschitz.network_constant import LipschitzConstants, lipschitz_constants
from epsball.certificates.methods import interval
from epsball.certificates.problem import LowerBounds, Problem, old_calls_too
from epsball.certificates.propagation import Propagation, deployed_rounding, node_size, rounding_at
from epsball.graph import Node
from epsball.graph.kinds import Constant, Convolution, Elementwise, Input, Linear

_UP = 1 + 2.0**-45
_SUMS = 1 + 2.0**-30
"""Covers the rounding of sums over all entries of a node, too."""

ORDERS = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}


@old_calls_too
def lipschitz(problem: Problem) -> LowerBounds:
    """Bound rows a . z over the ball by a . z(x) - L_a radius, L_a a Lipschitz constant.

    L_a is the least of the network's global constant for the row and, where every node is affine or
    a function of one variable, its constant on the ball. Besides, a jump loses its height, and a float32 claim what
    the deployed network's rounding errors e_v at nodes v can grow to, sum over v of L_(v to a) ||e_v||.

    Raises
    ------
    UnsupportedOperation
        If a node has no finite global constant.

    References
    ----------
    Tsuzuku, Sato and Sugiyama, "Lipschitz-margin training: scalable certification of perturbation invariance for deep
    neural networks" (NeurIPS 2018), proposition 1.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, lipschitz
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> lipschitz(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    domain, specification = problem.domain, problem.specification
    constants = lipschitz_constants(problem.graph, domain.norm)
    at_x = replace(problem, domain=Domain.at(domain.centre, domain.norm), arithmetic=REAL, max_memory=None)
    start = interval(at_x)
    bounds = problem.propagate(refine=Nearby(constants=constants, at_x=start.boxes))
    found = constants.of_rows(specification)
    on_ball = local_constants(bounds, specification, domain.norm)
    if on_ball is not None:
        found = torch.minimum(found, torch.where(on_ball.isnan(), torch.inf, on_ball))
    lost = found * _farthest(domain).unsqueeze(1) * _UP + _jumps(constants, bounds, specification)
    if problem.arithmetic.deployed is not None:
        lost = lost + _deployed(constants, bounds, specification)
    rows = torch.nextafter(start.rows - lost * _UP, lost.new_tensor(-torch.inf))
    return LowerBounds(rows=torch.where(rows.isnan(), -torch.inf, rows), boxes=bounds.boxes)


@dataclass(kw_only=True)
class Nearby:
    """Bounds on nodes by how far they move from their values at x: L_v radius and what rounding and jumps add.

    What the deployed network's rounding errors and jumps before a node v can move it, d_v, is carried along the graph:
    d_v = ||e_v|| + jump of v + sum over the nodes u that it takes of L_(u to v) d_u.

    Parameters
    ----------
    constants
        Of the network.
    at_x
        Bounds on the real values of the nodes at x.
    """

    constants: LipschitzConstants
    at_x: Mapping[str, Box]
    moved: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, bounds: Propagation, node: Node) -> Box:
        """Return the node's box, intersected with that around its value at x."""
        norm, box = self.constants.norm, bounds.boxes[node.name]
        self._sharpen(bounds, node)
        moved = box.low.new_zeros(len(bounds.domain))
        rounding = bounds.rounding[node.name]
        if rounding is not None:
            moved = moved + torch.linalg.vector_norm(rounding.flatten(1), ORDERS[norm], dim=1)
        if node.name in bounds.graph.constant:
            # The constants are about moves of the input; they do not bound what rounding does to a computed constant.
            moved = torch.where(moved > 0, torch.inf, moved)
        else:
            moved = moved + _jump(node, norm)
            for name, factor in self.constants.edges.get(node.name, ()):
                # 0 inf, of a constant that is computed, is NaN: then nothing is known.
                moved = moved + (factor * self.moved[name]).nan_to_num(nan=torch.inf, posinf=torch.inf)
        self.moved[node.name] = moved * _SUMS
        if isinstance(node.kind, Input | Constant):
            return box
        reach = self._reach(bounds, node.name).view(-1, *(1,) * (box.low.ndim - 1))
        near = self.at_x[node.name].widened(reach)
        infinity = reach.new_tensor(torch.inf)
        outward = Box(torch.nextafter(near.low, -infinity), torch.nextafter(near.high, infinity))
        return box.intersected(outward.sound())

    def _reach(self, bounds: Propagation, name: str) -> Tensor:
        """Return how far a node can be from its value at x, in the norm of all its entries, (n,)."""
        return (self.constants.forward[name] * _farthest(bounds.domain) + self.moved[name]) * _UP

    def _sharpen(self, bounds: Propagation, node: Node) -> None:
        """Round an entry of a dense layer or convolution in l2 as what it is summed from allows.

        Moves d of its input with ||d||_2 <= R add at most ||W_i||_2 R to abs(W_i) abs(z), where a box that holds them
        all would let every entry of z move by R at once.
        """
        kind, deployed, form = node.kind, bounds.arithmetic.deployed, bounds.form(node)
        if not isinstance(kind, Linear | Convolution) or (isinstance(kind, Convolution) and kind.transposed):
            return
        if form is None or deployed is None or self.constants.norm != "l2":
            return
        taken = node.inputs[0]
        sums = row_norms(bounds.parameters[kind.weight].flatten(1), "l2")
        grown = self._reach(bounds, taken)[:, None] * sums
        others = (1,) * (len(node.shape) - 1)
        grown = grown.view(len(grown), *((*others, -1) if isinstance(kind, Linear) else (-1, *others)))
        magnitude = (form.magnitude(self.at_x[taken].magnitude) + grown) * _UP
        error = deployed_rounding(form, [box.magnitude for box in bounds.inputs(node)], magnitude, deployed)
        if node.name == bounds.graph.output:
            # Subnormal logits may be taken for 0.
            error = error + deployed.tiny
        sharper = rounding_at(bounds, node, magnitude, error)
        known = bounds.rounding[node.name]
        if sharper is not None and known is not None:
            bounds.rounding[node.name] = torch.minimum(sharper, known)


def _jumps(constants: LipschitzConstants, bounds: Propagation, specification: Tensor) -> Tensor | float:
    """Return how far jumps of functions (softplus beyond its threshold) can move each row, (n, r).

    Such a function is within half its jump of one without; that may count at x and at another point.
    """
    varying = (node for node in bounds.graph.nodes if node.name not in bounds.graph.constant)
    hidden = sum(constants.backward[node.name] * _jump(node, constants.norm) for node in varying)
    return row_norms(constants.over_hidden(specification), constants.norm) * hidden * _UP if hidden else 0.0


def _jump(node: Node, norm: str) -> float:
    """Return the norm of the jumps of all entries of a node, 0 where it has none."""
    if not isinstance(node.kind, Elementwise):
        return 0.0
    count = {"linf": 1.0, "l2": math.sqrt(node_size(node)), "l1": float(node_size(node))}[norm]
    return curve_of(node.kind.function, node.kind.arguments).jump * count * _UP


def _deployed(constants: LipschitzConstants, bounds: Propagation, specification: Tensor) -> Tensor:
    """Return how far rounding in float32 can move each row, (n, r)."""
    over_hidden = row_norms(constants.over_hidden(specification), constants.norm)
    hidden = torch.zeros(len(specification), dtype=torch.float64)
    total = torch.zeros(specification.shape[:2], dtype=torch.float64)
    for name, rounding in bounds.rounding.items():
        if rounding is None:
            continue
        size = torch.linalg.vector_norm(rounding.flatten(1), ORDERS[constants.norm], dim=1)
        if name in bounds.graph.constant:
            # The constants are about moves of the input; they do not bound what rounding does to a computed constant.
            hidden = hidden.masked_fill(size > 0, torch.inf)
        elif constants.backward[name]:
            hidden = hidden + constants.backward[name] * size
        elif name == bounds.graph.output:
            total = total + (specification.abs() @ rounding.flatten(1).unsqueeze(2)).squeeze(2)
    return (total + over_hidden * hidden.unsqueeze(1)) * _SUMS


def _farthest(domain: Domain) -> Tensor:
    """Return how far a point of the domain is from its centre at most, (n,)."""
    if domain.norm != "linf":
        return domain.centre.new_full((len(domain),), domain.radius)
    sides = torch.maximum(domain.box.high - domain.centre, domain.centre - domain.box.low)
    return sides.flatten(1).amax(dim=1) * _UP
