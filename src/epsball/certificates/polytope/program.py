"""`Program`: the linear program over one example's outer polytope, and the lower slopes in its multipliers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array, hstack, vstack
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import Sweep, carried_over
from epsball.certificates.linear.windows import largest_extent
from epsball.certificates.propagation import Propagation
from epsball.errors import UnsupportedOperation
from epsball.graph import Node
from epsball.graph.kinds import Input

_OPTIONS = {"output_flag": False, "threads": 1, "parallel": "off", "presolve": "off", "solver": "simplex"}
"""Without presolve, which would throw the last basis away: most objectives take a few pivots from there."""

_PIVOTS = 100_000
"""Pivots that one objective may take; then its row keeps the slopes it has."""

_ENTRIES = 2**23
"""Coefficients that are carried back at once."""


class _Neurons(NamedTuple):
    """The bent neurons of a node: their places, and where the program has their columns and rows."""

    places: np.ndarray
    column: int
    row: int


class _Function(NamedTuple):
    """Affine functions of the program's columns: a matrix (m, columns) and constants (m,)."""

    matrix: csr_array
    constant: np.ndarray


class Program:
    """A linear program over the inputs x in the ball and, for every bent neuron y = f(z), over z and y.

        z = W v + w,    y >= a z + c,    y >= b z,    y <= s z + t

    where v are columns of the program, a z + c is the relaxation's line below f, or a and b (c = 0) are the least
    and the largest slope below a rectifier, and s z + t is the line above. Other neurons are lines of such, and are
    put in.

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
        self._bounds, self._plain = bounds, replace(bounds, arithmetic=PLAIN, fused={})
        self._neurons: dict[str, _Neurons] = {}
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
        for objective in self._function(start, rows).matrix.toarray():
            columns = self._columns
            cost = np.concatenate([objective, np.zeros(columns - len(objective))])
            self._solver.changeColsCost(columns, np.arange(columns, dtype=np.int32), cost)
            self._solver.run()
            solved = self._solver.modelStatusToString(self._solver.getModelStatus()) == "Optimal"
            yield self._in_multipliers(np.asarray(self._solver.getSolution().row_dual)) if solved else None

    @property
    def least(self) -> float:
        """The solver's value of the last objective, but for its constant: for comparison, never for a claim."""
        return self._solver.getInfo().objective_function_value

    @property
    def pivots(self) -> int:
        """The simplex iterations of the last objective."""
        return self._solver.getInfo().simplex_iteration_count

    @property
    def _columns(self) -> int:
        return self._solver.getNumCol()

    def _add_inputs(self) -> None:
        """Add x, and over an l1 ball x = c + p - q with sum(p + q) <= radius."""
        domain = self._bounds.domain
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
        start, index = rows.indptr[:-1].astype(np.int32), rows.indices.astype(np.int32)
        self._solver.addRows(len(low), low, high, rows.nnz, start, index, rows.data.astype(np.float64))
        return first

    def _function(self, start: str, rows: Tensor) -> _Function:
        """Return rows (m, *shape) over a node as functions of the columns; neurons that are missing are added."""
        each = max(1, _ENTRIES // largest_extent(self._bounds.graph, self._bounds.graph[start], None))
        parts = [self._carried(start, part) for part in rows.split(each)]
        for name in {name: None for part, _ in parts for name in part}:
            self._add(self._bounds.graph[name])
        blocks = [self._placed(part, len(constant)) for part, constant in parts]
        matrix = csr_array(vstack(blocks)) if len(blocks) > 1 else blocks[0]
        return _Function(matrix, np.concatenate([constant for _, constant in parts]))

    def _carried(self, start: str, rows: Tensor) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return coefficients (m, k) over the inputs and over the bent neurons of each node reached, and constants."""
        state = Sweep.of(self._plain, start, Coefficients(rows.unsqueeze(0)))
        found: dict[str, np.ndarray] = {}
        for node in reversed(self._bounds.graph.nodes):
            if node.name not in state.pending:
                continue
            taken = state.pending.pop(node.name)
            places = self._bent(node)
            if places is not None:
                values = taken.dense(node.shape).flatten(2)
                found[node.name] = values[0][:, places].numpy()
                rest = values.index_fill(2, torch.from_numpy(places), 0.0)
                taken = Coefficients(rest.view(*rest.shape[:2], *node.shape))
            if not isinstance(node.kind, Input):
                carried_over(state, node, taken)
        return found, state.total[0].numpy()

    def _bent(self, node: Node) -> np.ndarray | None:
        """Return the places of the neurons that columns stand for: all inputs, and where two lines differ."""
        if isinstance(node.kind, Input):
            return np.arange(self._bounds.domain.centre[0].numel())
        if node.name in self._bounds.graph.constant or self._bounds.form(node) is not None:
            return None
        lines = self._bounds.relaxation(node)
        if not isinstance(lines, LinearRelaxation):
            raise UnsupportedOperation(
                f"the linear program covers affine nodes and functions of one variable; node '{node.name}' "
                f"({node.origin or 'no origin'}) is a {type(node.kind).__name__}. Use 'crown' or 'optimised'."
            )
        differ = (lines.lower_slope != lines.upper_slope) | (lines.lower != lines.upper)
        places = np.flatnonzero(differ.expand(1, 1, *node.shape).flatten().numpy())
        return places if len(places) else None

    def _add(self, node: Node) -> None:
        """Add the bent neurons of a node, and first those that they stand on."""
        if node.name in self._neurons:
            return
        places = self._bent(node)
        if places is None:
            return
        if isinstance(node.kind, Input):
            self._neurons[node.name] = _Neurons(places, 0, 0)
            return
        source, k = node.inputs[0], len(places)
        shape = self._bounds.graph[source].shape
        units = torch.zeros(k, int(np.prod(shape)), dtype=torch.float64)
        units[torch.arange(k), torch.from_numpy(places)] = 1.0
        over = self._function(source, units.view(k, *shape))
        before = self._columns
        free = np.full(2 * k, np.inf)
        self._solver.addVars(2 * k, -free, free)
        unit, nothing = csr_array(np.eye(k)), csr_array((k, k))
        gap = csr_array((k, before - np.shape(over.matrix)[1]))
        self._add_rows(hstack([-over.matrix, gap, unit, nothing]), over.constant, over.constant)
        first = self._add_lines(node, places, before)
        self._neurons[node.name] = _Neurons(places, before + k, first)

    def _add_lines(self, node: Node, places: np.ndarray, before: int) -> int:
        """Add y - a z >= c, y - b z >= c and y - s z <= t; return the place of the first row."""
        k = len(places)
        lines: LinearRelaxation = self._bounds.relaxation(node)
        at = [part.expand(1, 1, *node.shape).flatten().numpy()[places] for part in lines]
        least, steepest = _limits(self._bounds, node, places, at[0])
        unit, infinite = np.eye(k), np.full(k, np.inf)
        gap = csr_array((k, before))
        sides = ((least, at[1], infinite), (steepest, at[1], infinite), (at[2], -infinite, at[3]))
        firsts = [
            self._add_rows(hstack([gap, csr_array(np.diag(-slope)), csr_array(unit)]), low, high)
            for slope, low, high in sides
        ]
        return firsts[0]

    def _placed(self, parts: Mapping[str, np.ndarray], rows: int) -> csr_array:
        """Return coefficients by node as a matrix over all columns."""
        blocks, at = [], 0
        for name, values in sorted(parts.items(), key=lambda part: self._neurons[part[0]].column):
            column = self._neurons[name].column
            blocks += [csr_array((rows, column - at)), csr_array(values)]
            at = column + values.shape[1]
        return csr_array(hstack([*blocks, csr_array((rows, self._columns - at))]))

    def _in_multipliers(self, duals: np.ndarray) -> dict[str, Tensor]:
        """Return the slopes (u a + v b) / (u + v) that multipliers u, v of the lines below stand for."""
        slopes = {}
        for name, (low, high) in slope_limits(self._bounds).items():
            slope = self._bounds.relaxation(self._bounds.graph[name]).lower_slope.expand_as(low).clone()
            if name in self._neurons:
                places, _, row = self._neurons[name]
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
