"""`sdp`: bounds by the semidefinite relaxation, where it is tighter than the linear program."""

import numpy as np
import torch
from torch import Tensor

from epsball.certificates.linear import refiner
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.polytope.outer import over_polytope
from epsball.certificates.polytope.rectified import Rectified
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation
from epsball.certificates.semidefinite.ascent import ascended
from epsball.certificates.semidefinite.cube import Cube, Multipliers
from epsball.certificates.semidefinite.newton import solved
from epsball.certificates.semidefinite.proof import proved
from epsball.certificates.slopes.final import Schedule, optimised_slopes, with_slopes
from epsball.errors import UnsupportedOperation

STEPS = 150
"""Newton's steps of `sdp`."""

FIRST_ORDER_STEPS = 20
"""Steps of L-BFGS per row and barrier, where Newton's matrix would not fit."""

NEWTON = 4000
"""Multipliers per row up to which their matrix of second derivatives is used: its factors take 1.3 GFlop per 1000^3."""

SMALL = 1000
"""Multipliers up to which every row is bounded anew, and not only those that the linear program leaves open."""


def sdp(problem: Problem, *, steps: int = STEPS, every: bool = False) -> LowerBounds:
    """Bound the final rows by the semidefinite relaxation of the rectifiers: r^2 = r z beside the lines around them.

    The intermediate bounds are backward sweeps', those of `lp`, and no row is below that method's (over l2 balls, which
    have no linear program, below `optimised`'s of the final rows). Multipliers come from Newton's method along the
    central path, for networks too large for that from L-BFGS; whatever they are, the claim is what a verified Cholesky
    factorisation proves from them. Of a large network only rows that the linear program does not put above 0 are
    bounded anew.

    Parameters
    ----------
    problem
        What is bounded.
    steps
        Newton's steps per row, at most.
    every
        Whether all rows are bounded anew, whatever the size.

    Raises
    ------
    UnsupportedOperation
        For l1 balls, and for neurons without a line that are neither ReLU, leaky ReLU, PReLU nor absolute value.

    References
    ----------
    Raghunathan, Steinhardt and Liang, "Semidefinite relaxations for certifying robustness to adversarial examples"
    (NeurIPS 2018); Dathathri et al., "Enabling certification of verification-agnostic networks via memory-efficient
    semidefinite programming" (NeurIPS 2020): a dual that bounds at any iterate.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, sdp
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> sdp(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    if problem.domain.norm == "l1":
        raise UnsupportedOperation("the semidefinite relaxation covers linf and l2 balls; for l1 balls use 'lp'.")
    bounds = problem.propagate(refine=refiner(problem.max_memory, lower="every"))
    parts = [_tightened(problem.take(at), bounds.take(at), steps, every) for at in map(_only, range(len(problem)))]
    return LowerBounds(rows=torch.cat(parts), boxes=bounds.boxes)


def _only(number: int) -> slice:
    return slice(number, number + 1)


def _tightened(problem: Problem, bounds: Propagation, steps: int, every: bool) -> Tensor:
    """Return the bounds of one example's rows, (1, r)."""
    network = Rectified.of(bounds, problem.graph.output, problem.specification[0])
    linear = _linear(problem, bounds)
    rows, multipliers = linear.rows.clone(), len(network.low) + 4 * len(network.chord)
    wanted = torch.isfinite(rows[0])
    if multipliers > SMALL and not every:
        wanted &= rows[0] <= 0
    if not len(network.chord) or not network.finite:
        return rows
    cube = Cube.of(network)
    room = np.inf if problem.max_memory is None else problem.max_memory
    for row in torch.nonzero(wanted).flatten().tolist():
        one = cube.of_row(row)
        begun = start_of(network, one, row)
        if multipliers <= NEWTON and 48 * multipliers**2 <= room:
            found = solved(one, begun, steps=steps)
        elif 64 * len(network.low) ** 2 <= room:
            found = ascended(one, begun, steps=FIRST_ORDER_STEPS)
        else:
            break
        rows[0, row] = torch.maximum(rows[0, row], proved(one, found)[0])
    return rows


def _linear(problem: Problem, bounds: Propagation) -> LowerBounds:
    """Return bounds by the linear program, or by slopes where there is none."""
    if problem.domain.norm == "linf":
        return over_polytope(problem, bounds)
    specification, memory = problem.specification, problem.max_memory
    slopes = optimised_slopes(bounds, specification, Schedule(10, 0.25), memory)
    return with_slopes(bounds, problem, slopes, final_bounds(bounds, specification, max_memory=memory))


def start_of(network: Rectified, cube: Cube, row: int) -> Multipliers:
    """Return the multipliers of a backward sweep with the slopes of least area: no quadratic term."""
    d, count = network.inputs, len(network.chord)
    a, line, chord = network.objective.matrix[row].copy(), np.zeros(count), np.zeros(count)
    zero = np.zeros(count)
    steep = network.z_high > -network.z_low
    for k in reversed(range(count)):
        value, a[d + k] = a[d + k], 0.0
        (line if steep[k] else zero)[k], chord[k] = max(value, 0.0), max(-value, 0.0)
        a += (line[k] - chord[k] * network.chord[k]) * network.z.matrix[k]
    zeros, lines, chords = (torch.from_numpy(part).unsqueeze(0) for part in (zero, line, chord))
    nothing = torch.zeros(1, count, dtype=torch.float64)
    ball = torch.full((1, 1), 0.0 if cube.reach is None else 1e-3, dtype=torch.float64)
    cubes = torch.zeros(1, len(a), dtype=torch.float64)
    start = Multipliers(zeros, lines, chords, nothing, cubes, ball)
    half = 0.5 * cube.lagrangian(start).p.abs()
    return start._replace(cube=half + 0.05 * half.mean() + 1e-300)
