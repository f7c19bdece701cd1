"""`Reduced`: one example's network with only its unstable rectifiers left, as dense matrices.

With r_k the unstable rectifiers of the k-th bent node, z_k what they take, and everything stable folded into matrices,

    z_k = X_k x + sum_{j < k} W_kj r_j + b_k,    r_k = relu(z_k),    margins = X x + sum_k W_k r_k + c.

Searches run on it, in float32 and without error terms; nothing is claimed from it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.branching.kinks import Pieces, is_bent, pieces
from epsball.certificates.branching.relaxation.matrices import Matrix
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.sweep import Sweep, carried_over
from epsball.certificates.propagation import Propagation
from epsball.certificates.tensors import flat
from epsball.graph import Node
from epsball.graph.kinds import Input

_ROWS = 2**23
"""Coefficients that are carried back at once while matrices are made."""


class Functions(NamedTuple):
    """Affine functions of the input and of the unstable rectifiers: X x + sum_k W_k r_k + b.

    Parameters
    ----------
    over_input, over_layers, constant
        X (m, d), by layer W_k (m, m_k), and b (m,).
    """

    over_input: Tensor
    over_layers: tuple[Tensor, ...]
    constant: Tensor

    def take(self, rows: Tensor) -> "Functions":
        """Return some of the functions."""
        return Functions(self.over_input[rows], tuple(part[rows] for part in self.over_layers), self.constant[rows])

    def to(self, dtype: torch.dtype) -> "Functions":
        """Return the functions in another format."""
        over = tuple(part.to(dtype) for part in self.over_layers)
        return Functions(self.over_input.to(dtype), over, self.constant.to(dtype))


class Matrices(NamedTuple):
    """`Functions` as matrices that multiply columns."""

    over_input: Matrix
    over_layers: tuple[Matrix, ...]
    constant: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """The m unstable rectifiers of one bent node.

    Parameters
    ----------
    node
        The node.
    places, kinks, weights
        Entries of the node by number, the kink t of each rectifier there, and its weight in the node's value, (m,).
    low, high
        Bounds on z - t, (m,): below and above 0, unless the layer was decided later.
    functions
        z - t of each, as a function of the input and of the layers before.
    """

    node: str
    places: Tensor
    kinks: Tensor
    weights: Tensor
    low: Tensor
    high: Tensor
    functions: Functions

    _matrices: dict[torch.dtype, "Matrices"] = field(init=False, default_factory=dict)

    @property
    def chord(self) -> tuple[Tensor, Tensor]:
        """Slope and intercept of the line above each rectifier, (m,)."""
        low, high = self.low.clamp(max=0), self.high.clamp(min=0)
        slope = high / (high - low)
        return slope, -slope * low

    @property
    def is_free(self) -> Tensor:
        """Which rectifiers may be on or off, (m,)."""
        return (self.low < 0) & (self.high > 0)

    def matrices(self, dtype: torch.dtype) -> "Matrices":
        """Return the functions as matrices of a format."""
        if dtype not in self._matrices:
            over_input, over_layers, constant = self.functions.to(dtype)
            self._matrices[dtype] = Matrices(Matrix(over_input), tuple(map(Matrix, over_layers)), constant)
        return self._matrices[dtype]

    def __len__(self) -> int:
        return len(self.places)


class _Fold(NamedTuple):
    """What of a bent node is folded into matrices, by entry: its stable part, a constant plus a slope times z."""

    slope: Tensor
    constant: Tensor


@dataclass(kw_only=True, eq=False)
class Reduced:
    """The reduced network, made layer by layer as bounds become known; see the module.

    Parameters
    ----------
    bounds
        Bounds on the nodes of one example.
    """

    bounds: Propagation
    layers: list[Layer] = field(default_factory=list)
    _folds: dict[str, _Fold] = field(default_factory=dict)
    _plain: Propagation = field(init=False)

    def __post_init__(self) -> None:
        nothing: dict[str, Tensor | None] = defaultdict(lambda: None)
        self._plain = replace(self.bounds, arithmetic=PLAIN, fused={}, rounding=nothing)

    @classmethod
    def of(cls, bounds: Propagation) -> "Reduced":
        """Return the reduced network of an example, given bounds on all of its nodes."""
        found = cls(bounds=bounds)
        for node in bounds.graph.nodes:
            found.include(node)
        return found

    def include(self, node: Node, known: Mapping[int, int] | None = None, functions: Functions | None = None) -> None:
        """Add the unstable rectifiers of a node, if it is bent.

        Parameters
        ----------
        node
            The next node of the graph; its input has bounds.
        known, functions
            Functions that some entries of its input are known to be, and which of them each entry is.
        """
        if not is_bent(node) or node.name in self.bounds.graph.constant:
            return
        source = node.inputs[0]
        made = pieces(node, self.bounds.parameters)
        low, high = (end[0].flatten() for end in self.bounds.boxes[source])
        self._folds[node.name] = _fold(made, low)
        units = [
            (torch.nonzero((low < t) & (high > t) & (w != 0)).flatten(), t, w)
            for t, w in zip(made.kinks, made.weights, strict=True)
        ]
        places = torch.cat([at for at, _, _ in units]) if units else torch.zeros(0, dtype=torch.int64)
        if not len(places):
            return
        kinks = torch.cat([torch.full((len(at),), t, dtype=torch.float64) for at, t, _ in units])
        if known is not None and functions is not None and all(at in known for at in places.tolist()):
            over = functions.take(torch.tensor([known[at] for at in places.tolist()]))
        else:
            over = self.entries(source, places)
        self.layers.append(
            Layer(
                node=node.name,
                places=places,
                kinks=kinks,
                weights=torch.cat([w[at] for at, _, w in units]),
                low=low[places] - kinks,
                high=high[places] - kinks,
                functions=over._replace(constant=over.constant - kinks),
            )
        )

    def folded(self, name: str) -> Tensor:
        """Return by entry the slope of a bent node's stable part, (size,)."""
        return self._folds[name].slope

    def entries(self, name: str, places: Tensor) -> Functions:
        """Return entries of a node's value as functions."""
        shape = self.bounds.graph[name].shape
        each = max(1, _ROWS // max(math.prod(node.shape) for node in self.bounds.graph.nodes))
        parts = []
        for some in places.split(each):
            units = torch.zeros(len(some), math.prod(shape), dtype=torch.float64)
            units[torch.arange(len(some)), some] = 1.0
            parts.append(self.functions(name, units.view(-1, *shape)))
        return Functions(
            torch.cat([part.over_input for part in parts]),
            tuple(map(torch.cat, zip(*(part.over_layers for part in parts), strict=True))),
            torch.cat([part.constant for part in parts]),
        )

    def functions(self, name: str, rows: Tensor) -> Functions:
        """Return rows (m, *shape) over a node's value as functions."""
        state = Sweep.of(self._plain, name, Coefficients(rows.unsqueeze(0)))
        places = {layer.node: (at, layer) for at, layer in enumerate(self.layers)}
        over = [rows.new_zeros(len(rows), len(layer)) for layer in self.layers]
        over_input = rows.new_zeros(len(rows), self.bounds.domain.centre[0].numel())
        for node in reversed(self.bounds.graph.nodes):
            if node.name not in state.pending:
                continue
            taken = state.pending.pop(node.name)
            if isinstance(node.kind, Input):
                over_input = over_input + flat(taken.dense(node.shape), 2)[0]
            elif node.name in self._folds:
                values, fold = flat(taken.dense(node.shape), 2)[0], self._folds[node.name]
                if node.name in places:
                    at, layer = places[node.name]
                    over[at] = values[:, layer.places] * layer.weights
                state.total = state.total + values @ fold.constant
                state.pend(node.inputs[0], Coefficients((values * fold.slope).view(1, -1, *node.shape)))
            else:
                carried_over(state, node, taken)
        return Functions(over_input, tuple(over), state.total[0])


def _fold(made: Pieces, low: Tensor) -> _Fold:
    """Return the part of a node without its unstable rectifiers: those that are positive are lines."""
    slope, constant = made.slope.clone(), torch.full_like(low, made.constant)
    for kink, weight in zip(made.kinks, made.weights, strict=True):
        on = (low >= kink).to(low.dtype) * weight
        slope, constant = slope + on, constant - on * kink
    return _Fold(slope, constant)
