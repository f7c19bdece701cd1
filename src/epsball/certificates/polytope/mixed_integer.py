"""`milp`: what a mixed-integer solver says of a tiny network, as an oracle beside the bounds."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array, eye_array, hstack
from torch import Tensor

from epsball.certificates.linear import refiner
from epsball.certificates.polytope.rectified import Rectified
from epsball.certificates.problem import Problem
from epsball.errors import UnsupportedOperation


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """The least value of each row over the ball, as a solver finds it in floating point: never a certificate.

    Parameters
    ----------
    value
        At the best point found, (r,); infinite where none was found.
    bound
        The solver's bound below, (r,).
    x
        The points, (r, *shape).
    """

    value: Tensor
    bound: Tensor
    x: Tensor


def milp(problem: Problem, *, seconds: float = 60.0, gap: float = 1e-9) -> list[Minimum]:
    """Minimise the rows of each example by mixed-integer programs, with one binary variable per unstable rectifier.

        r >= z,    0 <= r <= z_high b,    r <= z - z_low (1 - b),    b in {0, 1}

    For networks of a few dozen unstable neurons. The solver's tolerances (1e-9 on constraints) and its rounding are not
    covered, so an answer is an oracle for tests and comparisons; certificates come from `lp` or `sdp`.

    Parameters
    ----------
    problem
        What is bounded, over linf balls.
    seconds
        Per row, of wall time.
    gap
        Absolute difference of value and bound at which the solver ends.

    Raises
    ------
    UnsupportedOperation
        For other balls, and for neurons without a line that are no rectifiers.

    References
    ----------
    Tjeng, Xiao and Tedrake, "Evaluating robustness of neural networks with mixed integer programming" (ICLR 2019).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, milp
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> milp(problem)[0].value
    tensor([0.3000], dtype=torch.float64)
    """
    if problem.domain.norm != "linf":
        raise UnsupportedOperation("the mixed-integer program covers linf balls; use 'lp' (l1) or 'sdp' (l2).")
    bounds = problem.propagate(refine=refiner(problem.max_memory, lower="every"))
    found = []
    for number in range(len(problem)):
        network = Rectified.of(
            bounds.take(slice(number, number + 1)), problem.graph.output, problem.specification[number]
        )
        solver = _program(network, seconds, gap)
        answers = [_minimum(solver, network, row) for row in range(len(network.objective.constant))]
        value, bound, x = (np.stack(part) for part in zip(*answers, strict=True))
        points = torch.from_numpy(x).view(-1, *problem.graph.input.shape)
        found.append(Minimum(value=torch.from_numpy(value), bound=torch.from_numpy(bound), x=points))
    return found


def _program(network: Rectified, seconds: float, gap: float):
    """Return the solver with columns (x, r, b) and the rows above."""
    import highspy

    solver, d, k = highspy.Highs(), network.inputs, len(network.chord)
    options = {"output_flag": False, "threads": 1, "time_limit": seconds, "mip_rel_gap": 0.0, "mip_abs_gap": gap}
    tolerances = ("mip_feasibility_tolerance", "primal_feasibility_tolerance", "dual_feasibility_tolerance")
    for option, value in (options | dict.fromkeys(tolerances, 1e-9)).items():
        solver.setOptionValue(option, value)
    solver.addVars(d + 2 * k, np.append(network.low, np.zeros(k)), np.append(network.high, np.ones(k)))
    if not k:
        return solver
    binary = np.arange(d + k, d + 2 * k, dtype=np.int32)
    solver.changeColsIntegrality(k, binary, np.full(k, highspy.HighsVarType.kInteger))
    r = eye_array(k, d + k, k=d)
    z, w, nothing = csr_array(network.z.matrix), network.z.constant, csr_array((k, k))
    high, low = diags_array(network.z_high), diags_array(network.z_low)
    free = np.full(k, np.inf)
    for matrix, least, most in (
        (hstack([r - z, nothing]), w, free),
        (hstack([r, -high]), -free, np.zeros(k)),
        (hstack([r - z, -low]), -free, w - network.z_low),
    ):
        rows = csr_array(matrix)
        start, index = rows.indptr[:-1].astype(np.int32), rows.indices.astype(np.int32)
        solver.addRows(k, least, most, rows.nnz, start, index, rows.data.astype(np.float64))
    return solver


def _minimum(solver, network: Rectified, row: int) -> tuple[float, float, np.ndarray]:
    """Return value, bound and point of one row."""
    columns, d, k = solver.getNumCol(), network.inputs, len(network.chord)
    cost = np.append(network.objective.matrix[row], np.zeros(k))
    solver.changeColsCost(columns, np.arange(columns, dtype=np.int32), cost)
    solver.run()
    info, point = solver.getInfo(), np.asarray(solver.getSolution().col_value)
    constant = float(network.objective.constant[row])
    value = info.objective_function_value + constant if info.primal_solution_status else np.inf
    bound = info.mip_dual_bound + constant if k else value
    return value, bound, point[:d] if len(point) else np.full(d, np.nan)
