"""The method `lipschitz`: margin at x, less the Lipschitz constant times the radius."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from epsball.certificates.arithmetic import REAL
from epsball.certificates.curves import curve_of
from epsball.certificates.domain import Domain
from epsball.certificates.lipschitz.factors import row_norms
from epsball.certificates.lipschitz.local import local_constants
from epsball.certificates.lipschitz.network_constant import LipschitzConstants, lipschitz_constants
from epsball.certificates.methods import interval
from epsball.certificates.problem import LowerBounds, Problem, old_calls_too
from epsball.certificates.propagation import Propagation, node_size
from epsball.graph.kinds import Elementwise

_UP = 1 + 2.0**-45


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
    start = interval(at_x).rows
    bounds = problem.propagate()
    found = constants.of_rows(specification)
    on_ball = local_constants(bounds, specification, domain.norm)
    if on_ball is not None:
        found = torch.minimum(found, torch.where(on_ball.isnan(), torch.inf, on_ball))
    lost = found * domain.radius * _UP + _jumps(constants, bounds, specification)
    if problem.arithmetic.deployed is not None:
        lost = lost + _deployed(constants, bounds, specification)
    rows = torch.nextafter(start - lost * _UP, start.new_tensor(-torch.inf))
    return LowerBounds(rows=torch.where(rows.isnan(), -torch.inf, rows), boxes=bounds.boxes)


def _jumps(constants: LipschitzConstants, bounds: Propagation, specification: Tensor) -> Tensor | float:
    """Return how far jumps of functions (softplus beyond its threshold) can move each row, (n, r).

    Such a function is within half its jump of one without; that may count at x and at another point.
    """
    hidden = 0.0
    for node in bounds.graph.nodes:
        if isinstance(node.kind, Elementwise) and node.name not in bounds.graph.constant:
            jump = curve_of(node.kind.function, node.kind.arguments).jump
            count = {"linf": 1.0, "l2": math.sqrt(node_size(node)), "l1": float(node_size(node))}[constants.norm]
            hidden += constants.backward[node.name] * jump * count
    return row_norms(constants.over_hidden(specification), constants.norm) * hidden * _UP if hidden else 0.0


def _deployed(constants: LipschitzConstants, bounds: Propagation, specification: Tensor) -> Tensor:
    """Return how far rounding in float32 can move each row, (n, r)."""
    over_hidden = row_norms(constants.over_hidden(specification), constants.norm)
    order = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}[constants.norm]
    hidden = torch.zeros(len(specification), dtype=torch.float64)
    total = torch.zeros(specification.shape[:2], dtype=torch.float64)
    for name, rounding in bounds.rounding.items():
        if rounding is None:
            continue
        size = torch.linalg.vector_norm(rounding.flatten(1), order, dim=1)
        if name in bounds.graph.constant:
            # The constants are about moves of the input; they do not bound what rounding does to a computed constant.
            hidden = hidden.masked_fill(size > 0, torch.inf)
        elif constants.backward[name]:
            hidden = hidden + constants.backward[name] * size
        elif name == bounds.graph.output:
            total = total + (specification.abs() @ rounding.flatten(1).unsqueeze(2)).squeeze(2)
    return (total + over_hidden * hidden.unsqueeze(1)) * (1 + 2.0**-30)
