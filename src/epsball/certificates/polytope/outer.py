"""`lp` and `lp_tight`: bounds by linear programs, of the final rows alone and of every unstable neuron too."""

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.linear import refiner
from epsball.certificates.linear.refinement import neurons_to_refine
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.linear.windows import cropped
from epsball.certificates.polytope.program import Program
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation
from epsball.certificates.slopes.final import Schedule, optimised_slopes, with_slopes
from epsball.certificates.slopes.neurons import NeuronSlopes, bounding, by_window, with_own_slopes
from epsball.graph import Node

ROOM = 2**30
"""Bytes for the slopes of one node's neurons, where no `max_memory` is given."""


def lp(problem: Problem) -> LowerBounds:
    """Bound the final rows by linear programs over the outer polytope that `optimised` starts from.

    The intermediate bounds are backward sweeps'. What the solver says is never the bound: its multipliers are lower
    slopes, and the bound is that of a sweep with these. See `Program`.

    Rectifiers (ReLU, leaky ReLU, PReLU) have the lines of their triangle. Other nodes that are not affine (maxima,
    absolute values, clamps, smooth functions, products) have the two lines that a sweep bounds them by.

    Raises
    ------
    UnsupportedOperation
        For l2 balls.

    References
    ----------
    Ehlers, "Formal verification of piece-wise linear feed-forward neural networks" (ATVA 2017).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, lp
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> lp(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    return over_polytope(problem, problem.propagate(refine=refiner(problem.max_memory, lower="every")))


def over_polytope(problem: Problem, bounds: Propagation) -> LowerBounds:
    """Bound the final rows by one linear program per example, given bounds on every node."""
    each = (slice(number, number + 1) for number in range(len(problem)))
    return _final(bounds, problem, [Program(bounds.take(one)) for one in each])


def lp_tight(problem: Problem) -> LowerBounds:
    """Bound every unstable neuron by two linear programs, node by node, and the final rows over what is left.

    As in `lp` every claim is a sweep's, with slopes of its own for each neuron.

    Raises
    ------
    UnsupportedOperation
        As `lp`.

    References
    ----------
    Salman et al., "A convex relaxation barrier to tight robustness verification of neural networks" (NeurIPS 2019):
    the bounds of LP-ALL.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, lp_tight
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> lp_tight(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    parts = [_tight(problem.take(slice(number, number + 1))) for number in range(len(problem))]
    return LowerBounds.joined(parts, problem.graph)


def _final(bounds: Propagation, problem: Problem, programs: list[Program]) -> LowerBounds:
    """Return the bounds of the final rows by the slopes of one program per example, or by the relaxations' own."""
    specification, output = problem.specification, problem.graph.output
    without = final_bounds(bounds, specification, max_memory=problem.max_memory)
    limits = slope_limits(bounds)
    slopes = {
        name: bounds.relaxation(bounds.graph[name]).lower_slope.expand(*specification.shape[:2], *low.shape[2:]).clone()
        for name, (low, _) in limits.items()
    }
    for number, program in enumerate(programs):
        for row, found in enumerate(program.slopes(output, specification[number])):
            for name, slope in (found or {}).items():
                slopes[name][number, row] = slope[0, 0]
    found = with_slopes(bounds, problem, slopes, without)
    if problem.domain.norm != "l1":
        return found
    # A sweep bounds a linear function over the l1 ball and over its box, not over what they have in common: there the
    # program's slopes need not be the best.
    ascent = optimised_slopes(bounds, specification, Schedule(10, 0.25), problem.max_memory)
    return _better(found, with_slopes(bounds, problem, ascent, without))


def _better(first: LowerBounds, second: LowerBounds) -> LowerBounds:
    """Return the better bound of each row, with its slopes."""
    better = second.rows > first.rows
    slopes = {
        name: torch.where(better.view(*better.shape, *(1,) * (slope.ndim - 2)), slope, first.slopes[name])
        for name, slope in second.slopes.items()
    }
    return LowerBounds(rows=torch.maximum(first.rows, second.rows), boxes=first.boxes, slopes=slopes)


def _tight(problem: Problem) -> LowerBounds:
    """Return the bounds of one example."""
    before = refiner(problem.max_memory, lower="every")
    room = (ROOM if problem.max_memory is None else problem.max_memory) // 8
    programs: list[Program] = []
    chosen: list[NeuronSlopes] = []

    def refine(bounds: Propagation, node: Node) -> Box:
        box = bounds.boxes[node.name] = before(bounds, node)
        wanted = neurons_to_refine(bounds, node)
        if wanted is None or not bool(wanted.any()) or not slope_limits(bounds):
            return box
        if not programs:
            programs.append(Program(bounds))
        found = _with_program_slopes(programs[0], bounds, node, wanted[0], room)
        chosen.extend(found)
        return bounding(found, lambda bounds, node: bounds.boxes[node.name])(bounds, node)

    bounds = problem.propagate(refine=refine)
    found = _final(bounds, problem, programs or [Program(bounds)])
    return LowerBounds(rows=found.rows, boxes=found.boxes, slopes=found.slopes, neuron_slopes={0: chosen})


def _with_program_slopes(
    program: Program, bounds: Propagation, node: Node, wanted: Tensor, room: int
) -> list[NeuronSlopes]:
    """Return the wanted neurons of a node with the slopes of their programs; none where these would not fit."""
    limits = slope_limits(bounds)
    found = [with_own_slopes(bounds, node, window, neurons, limits) for window, neurons in by_window(node, wanted)]
    if sum(slope.numel() for part in found for slope in part.slopes.values()) > room:
        return []
    return [part.having(_program_slopes(program, node, part)) for part in found]


def _program_slopes(program: Program, node: Node, part: NeuronSlopes) -> dict[str, Tensor]:
    """Return slopes (1, 2 k, *part) of the rows that bound k neurons from below, then from above."""
    k = len(part.neurons)
    units = torch.zeros(k, *node.shape, dtype=torch.float64)
    units.view(k, -1)[torch.arange(k), part.neurons] = 1.0
    slopes = {name: slope.clone() for name, slope in part.slopes.items()}
    for row, found in enumerate(program.slopes(node.name, torch.cat([units, -units]))):
        for name, slope in (found or {}).items():
            if name in slopes:
                slopes[name][0, row] = cropped(slope, part.parts[name])[0, 0]
    return slopes
