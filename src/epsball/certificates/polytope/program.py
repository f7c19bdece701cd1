"""`Program`: the linear program over one example's outer polytope, and the lower slopes in its multipliers."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import csr_array, hstack
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.polytope.columns import Columns, Neurons, units, width_of
from epsball.certificates.propagation import Propagation
from epsball.errors import UnsupportedOperation
from epsball.graph import Node
from epsball.graph.kinds import Input

_OPTIONS = {"output_flag": False, "threads": 1, "parallel": "off", "run_crossover": "off"}

_FIRST = {"solver": "simplex", "presolve": "on", "simplex_strategy": 1}
_LARGER = {"solver": "simplex", "presolve": "off", "simplex_strategy": 1}
_AGAIN = {"solver": "simplex", "presolve": "off", "simplex_strategy": 4}
"""Of the first objective; after rows were added; of others, which start from the last basis: it is feasible still, so
primal pivots go on from there, and presolve would throw it away."""

_INTERIOR = {"solver": "ipm", "presolve": "off"}
_ROWS = 5000
"""Rows from which on an interior-point method is used, without crossover: its multipliers are as good. For nine rows of
four images it took 5.4, 3.1, 2.6, 2.0 CPU-s (6092, 5876, 3572, 3320 rows), the simplex method 7.1, 3.8, 1.6, 1.5."""

_PIVOTS = 100_000
"""Pivots that one objective may take; then its row keeps the slopes it has."""


class Program(Columns):
    """A linear program over the inputs x in the ball and, for every bent neuron y = f(z), over z and y.

        z = W v + w,    y >= a z + c,    y >= b z,    y <= s z + t

    where v are columns of the program, a z + c is the relaxation's line below f, or a and b (c = 0) are the least
    and the largest slope below a rectifier, and s z + t is the line above. An entry y of another node that is not
    affine (a maximum, a product, a softmax) has the two linear functions of v that its rule bounds it by. Other neurons
    are lines of such, and are put in.

    A neuron is added when a row first reaches it, so rows over any node may be asked for while bounds are propagated.
    The solver is HiGHS, of which nothing is believed: by Lagrangian duality multipliers u and v of y >= a z and
    y >= b z, with the sum u + v, are the slope (u a + v b) / (u + v) below that neuron, and the row swept back with
    these slopes is the bound. At the optimum the two are equal.

    Parameters
    ----------
    bounds
        Bounds on the nodes of one example over a linf or l1 ball, at least of those before any row that is asked for.

    References
    ----------
    Ehlers, "Formal verification of piece-wise linear feed-forward neural networks" (ATVA 2017); Salman et al., "A
    convex relaxation barrier to tight robustness verification of neural networks" (NeurIPS 2019).
    """

    def __init__(self, bounds: Propagation) -> None:
        import highspy

        if bounds.domain.norm == "l2":
            raise UnsupportedOperation(
                "an l2 ball is not a polytope, so it has no linear program. Use 'crown' or 'optimised', which bound "
                "rows over the ball itself."
            )
        super().__init__(bounds=replace(bounds, arithmetic=PLAIN, fused={}), neurons={})
        self._first: dict[str, int] = {}
        self._solved: int | None = None
        self._finite = True
        self._solver = highspy.Highs()
        for option, value in (_OPTIONS | {"simplex_iteration_limit": _PIVOTS}).items():
            self._solver.setOptionValue(option, value)
        self._add_inputs()

    def slopes(self, start: str, rows: Tensor) -> Iterator[dict[str, Tensor] | None]:
        """Yield for each row lower slopes by rectifier, (1, 1, *shape), that make the bound of row . value best.

        None stands for a row that the solver found no optimum of.

        Parameters
        ----------
        start, rows
            The node, and coefficients over it, (m, *shape).
        """
        for objective in self.functions(start, rows).matrix.toarray():
            columns = self.width
            cost = np.concatenate([objective, np.zeros(columns - len(objective))])
            self._solver.changeColsCost(columns, np.arange(columns, dtype=np.int32), cost)
            solved = self._finite and self._solve()
            yield self._in_multipliers(np.asarray(self._solver.getSolution().row_dual)) if solved else None

    def _solve(self) -> bool:
        """Run the solver; return whether it found an optimum."""
        import highspy

        rows, before = self._solver.getNumRow(), self._solved
        simplex = _FIRST if before is None else _AGAIN if before == rows else _LARGER
        for options in (_INTERIOR, simplex) if rows > _ROWS else (simplex,):
            for option, value in options.items():
                self._solver.setOptionValue(option, value)
            self._solver.run()
            if self._solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
                self._solved = rows
                return True
        return False

    @property
    def least(self) -> float:
        """The solver's value of the last objective, but for its constant: for comparison, never for a claim."""
        return self._solver.getInfo().objective_function_value

    @property
    def pivots(self) -> int:
        """The simplex iterations of the last objective."""
        return self._solver.getInfo().simplex_iteration_count

    @property
    def width(self) -> int:
        """The number of columns."""
        return self._solver.getNumCol()

    def _add_inputs(self) -> None:
        """Add x, and over an l1 ball x = c + p - q with sum(p + q) <= radius."""
        domain = self.bounds.domain
        low, high = (end.flatten().numpy() for end in domain.box)
        d = len(low)
        self._solver.addVars(d, low, high)
        if domain.norm == "linf":
            return
        centre = domain.centre.flatten().numpy()
        self._solver.addVars(2 * d, np.zeros(2 * d), np.full(2 * d, np.inf))
        unit = csr_array(np.eye(d))
        self._add_rows(hstack([unit, -unit, unit]), centre, centre)
        everywhere = csr_array(np.concatenate([np.zeros(d), np.ones(2 * d)])[None])
        self._add_rows(everywhere, np.array([-np.inf]), np.array([domain.radius]))

    def _add_rows(self, matrix: object, low: np.ndarray, high: np.ndarray) -> int:
        """Add low <= matrix . columns <= high; return the place of the first."""
        first, rows = self._solver.getNumRow(), csr_array(matrix)
        # Where bounds are infinite there is no program: HiGHS takes finite coefficients only.
        self._finite &= bool(np.isfinite(rows.data).all()) and not bool(np.isnan([*low, *high]).any())
        start, index = rows.indptr[:-1].astype(np.int32), rows.indices.astype(np.int32)
        self._solver.addRows(len(low), low, high, rows.nnz, start, index, rows.data.astype(np.float64))
        return first

    def add(self, node: Node, places: np.ndarray) -> None:
        """Add the columns and rows of bent neurons, after those that they stand on."""
        if isinstance(node.kind, Input):
            self.neurons[node.name] = Neurons(places, 0)
        elif isinstance(self.bounds.relaxation(node), LinearRelaxation):
            self._add_curve(node, places)
        else:
            self._add_entries(node, places)

    def _add_entries(self, node: Node, places: np.ndarray) -> None:
        """Add y for each entry of a node that is not a function of one variable, between the lines of its rule."""
        k = len(places)
        entries = units(k, places, node.shape)
        below, above = self.around(node, entries), self.around(node, -entries)
        before = self.width
        free, unit = np.full(k, np.inf), csr_array(np.eye(k))
        self._solver.addVars(k, -free, free)
        self.neurons[node.name] = Neurons(places, before)
        for function, sign in ((below, 1.0), (above, -1.0)):
            width = width_of(function.matrix)
            gap = csr_array((k, before - width))
            self._add_rows(hstack([-function.matrix, gap, sign * unit]), function.constant, free)

    def _add_curve(self, node: Node, places: np.ndarray) -> None:
        """Add z and y for bent neurons y = f(z) of a node."""
        source, k = node.inputs[0], len(places)
        over = self.functions(source, units(k, places, self.bounds.graph[source].shape))
        before = self.width
        free = np.full(2 * k, np.inf)
        self._solver.addVars(2 * k, -free, free)
        unit, nothing = csr_array(np.eye(k)), csr_array((k, k))
        gap = csr_array((k, before - width_of(over.matrix)))
        self._add_rows(hstack([-over.matrix, gap, unit, nothing]), over.constant, over.constant)
        self._first[node.name] = self._add_lines(node, places, before)
        self.neurons[node.name] = Neurons(places, before + k)

    def _add_lines(self, node: Node, places: np.ndarray, before: int) -> int:
        """Add y - a z >= c, y - b z >= c and y - s z <= t; return the place of the first row."""
        k = len(places)
        lines: LinearRelaxation = self.bounds.relaxation(node)
        at = [part.expand(1, 1, *node.shape).flatten().numpy()[places] for part in lines]
        least, steepest = _limits(self.bounds, node, places, at[0])
        unit, infinite = np.eye(k), np.full(k, np.inf)
        gap = csr_array((k, before))
        sides = ((least, at[1], infinite), (steepest, at[1], infinite), (at[2], -infinite, at[3]))
        firsts = [
            self._add_rows(hstack([gap, csr_array(np.diag(-slope)), csr_array(unit)]), low, high)
            for slope, low, high in sides
        ]
        return firsts[0]

    def _in_multipliers(self, duals: np.ndarray) -> dict[str, Tensor]:
        """Return the slopes (u a + v b) / (u + v) that multipliers u, v of the lines below stand for."""
        slopes = {}
        for name, (low, high) in slope_limits(self.bounds).items():
            slope = self.bounds.relaxation(self.bounds.graph[name]).lower_slope.expand_as(low).clone()
            if name in self._first:
                places, row = self.neurons[name].places, self._first[name]
                k = len(places)
                u, v = duals[row : row + k].clip(min=0), duals[row + k : row + 2 * k].clip(min=0)
                a, b = (end.flatten().numpy()[places] for end in (low, high))
                own = slope.flatten().numpy()[places]
                chosen = np.divide(u * a + v * b, u + v, out=own.copy(), where=u + v > 0)
                slope.view(-1)[torch.from_numpy(places)] = torch.from_numpy(chosen.clip(a, b))
            slopes[name] = slope
        return slopes


def _limits(bounds: Propagation, node: Node, places: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest lower slope of bent neurons; where there is no choice, their own."""
    limits = slope_limits(bounds).get(node.name)
    if limits is None:
        return own, own
    low, high = (end.flatten().numpy()[places] for end in limits)
    return low, high
