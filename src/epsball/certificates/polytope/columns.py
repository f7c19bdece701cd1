"""`Columns`: the inputs and some neurons of a network as columns, and rows over any node as functions of these."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array, hstack, vstack
from torch import Tensor

from epsball.certificates.arithmetic import SLACK
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.sweep import Sweep, carried_over
from epsball.certificates.linear.windows import largest_extent
from epsball.certificates.propagation import Propagation, node_size
from epsball.graph import Node
from epsball.graph.kinds import Input

_ENTRIES = 2**23
"""Coefficients that are carried back at once."""


class Neurons(NamedTuple):
    """Neurons of a node that have columns: their places in its flattened value, and the first column."""

    places: np.ndarray
    column: int


class Functions(NamedTuple):
    """Affine functions below m rows: row . value >= matrix . columns + constant - error, (m, columns) and (m,)."""

    matrix: csr_array
    constant: np.ndarray
    error: np.ndarray


@dataclass(kw_only=True, eq=False)
class Columns(ABC):
    """The inputs, and the neurons that rows stop at. A neuron gets its column when a row first reaches it.

    Parameters
    ----------
    bounds
        Bounds on the nodes of one example, at least of those before any row that is asked for. Their arithmetic says
        which rounding the errors cover.
    neurons
        The neurons that have columns, by node.
    """

    bounds: Propagation
    neurons: dict[str, Neurons]

    @property
    @abstractmethod
    def width(self) -> int:
        """The number of columns."""

    @abstractmethod
    def add(self, node: Node, places: np.ndarray) -> None:
        """Add columns for neurons of a node, and enter them in `neurons`."""

    def passed_on(self, node: Node) -> Tensor | None:
        """Return what multiple of a neuron's input its column leaves out, (1, 1, *shape); None where it is 0."""
        return None

    def functions(self, start: str, rows: Tensor) -> Functions:
        """Return functions below rows (m, *shape) over a node; neurons that are missing are added."""
        return self._joined(start, rows, lambda part: Sweep.of(self.bounds, start, Coefficients(part.unsqueeze(0))))

    def around(self, node: Node, rows: Tensor) -> Functions:
        """Return functions below rows (m, *shape) over a node that is not affine, by the lines of its rule."""

        def after(part: Tensor) -> Sweep:
            state = Sweep.of(self.bounds, node.name, Coefficients(part.unsqueeze(0)))
            carried_over(state, node, state.pending.pop(node.name))
            return state

        return self._joined(node.name, rows, after)

    def _joined(self, start: str, rows: Tensor, first: Callable[[Tensor], Sweep]) -> Functions:
        """Return the functions that sweeps over parts of the rows end in, given the first state of each."""
        each = max(1, _ENTRIES // largest_extent(self.bounds.graph, self.bounds.graph[start], None))
        states = [first(part) for part in rows.split(each)]
        parts = [self._carried(state) for state in states]
        for name in {name: None for part in parts for name in part}:
            self._require(self.bounds.graph[name])
        constants = np.concatenate([state.total[0].numpy() for state in states])
        errors = np.concatenate([SLACK * (state.error[0] + self.bounds.underflow).numpy() for state in states])
        blocks = [self._placed(part, state.total.shape[1]) for part, state in zip(parts, states, strict=True)]
        return Functions(csr_array(vstack(blocks)), constants, errors)

    def _require(self, node: Node) -> None:
        places = bent(self.bounds, node)
        if node.name not in self.neurons and places is not None:
            self.add(node, places)

    def _carried(self, state: Sweep) -> dict[str, csr_array]:
        """Carry a sweep's rows to columns; return their coefficients (m, k) by node. What is constant stays in it.

        What rows over columns lose to rounding is charged as for any other rows.
        """
        found: dict[str, csr_array] = {}
        for node in reversed(self.bounds.graph.nodes):
            if node.name not in state.pending:
                continue
            taken = state.pending.pop(node.name)
            places = bent(self.bounds, node)
            if places is not None:
                taken, found[node.name] = self._parted(state, node, taken.dense(node.shape), torch.from_numpy(places))
            if not isinstance(node.kind, Input):
                carried_over(state, node, taken)
        return found

    def _parted(self, state: Sweep, node: Node, rows: Tensor, places: Tensor) -> tuple[Coefficients, csr_array]:
        """Return rows without those over columns, and these as a matrix."""
        flat = rows.flatten(2)
        rest = flat.index_fill(2, places, 0.0)
        over_columns = (flat - rest).view(rows.shape)
        if self.bounds.arithmetic.own is not None:
            state.charge(Coefficients(over_columns), self.bounds.rounding[node.name])
        share = self.passed_on(node)
        if share is not None:
            state.pend(node.inputs[0], Coefficients(share * over_columns))
        return Coefficients(rest.view(rows.shape)), csr_array(flat[0][:, places].numpy())

    def _placed(self, parts: Mapping[str, csr_array], rows: int) -> csr_array:
        """Return coefficients by node as a matrix over all columns."""
        blocks, at = [], 0
        for name, values in sorted(parts.items(), key=lambda part: self.neurons[part[0]].column):
            column = self.neurons[name].column
            blocks += [csr_array((rows, column - at)), values]
            at = column + width_of(values)
        return csr_array(hstack([*blocks, csr_array((rows, self.width - at))]))


def bent(bounds: Propagation, node: Node) -> np.ndarray | None:
    """Return the places of the neurons that are no line: all inputs, and where the lines around them differ.

    None where there are none. Of a node that is neither affine nor a function of one variable all entries count.
    """
    if isinstance(node.kind, Input):
        return np.arange(node_size(node))
    if node.name in bounds.graph.constant or bounds.form(node) is not None:
        return None
    lines = bounds.relaxation(node)
    if not isinstance(lines, LinearRelaxation):
        return np.arange(node_size(node))
    differ = (lines.lower_slope != lines.upper_slope) | (lines.lower != lines.upper)
    places = np.flatnonzero(differ.expand(1, 1, *node.shape).flatten().numpy())
    return places if len(places) else None


def units(count: int, places: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """Return rows (count, *shape) that pick each place of a flattened value."""
    rows = torch.zeros(count, int(np.prod(shape)), dtype=torch.float64)
    rows[torch.arange(count), torch.from_numpy(places)] = 1.0
    return rows.view(count, *shape)


def width_of(matrix: csr_array) -> int:
    """Return the number of a matrix's columns."""
    return int(matrix.shape[1])  # pyright: ignore[reportOptionalSubscript]
