"""`lipschitz_constants`: upper bounds of the Lipschitz constants of a whole network."""

import math
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball import NormName
from epsball.certificates.lipschitz.factors import factors, row_norms
from epsball.errors import lookup
from epsball.graph import Graph, Node, kinds
from epsball.graph.kinds import Parameters

_UP = 1 + 2.0**-45
_JOINING = (kinds.Concatenate, kinds.Maximum, kinds.Minimum)


@dataclass(frozen=True, kw_only=True, eq=False)
class LipschitzConstants:
    """Upper bounds of how far values of a network can move for a move of its input by 1, in one norm.

    Parameters
    ----------
    norm
        Of the input and of every node: ``"linf"``, ``"l2"`` or ``"l1"``.
    graph, parameters
        The network, and the parameters in use, float64.
    edges
        For each node the nodes that it takes, with how far it can move for a move of each by 1.
    forward
        For each node, of its value as a function of the input.
    backward
        For each node, of the last hidden value (what the final linear layer takes, or the logits)
        as a function of the node.
    hidden
        The name of that last hidden node.

    Examples
    --------
    >>> import torch
    >>> from epsball.certificates import lipschitz_constants
    >>> from epsball.graph import capture
    >>> constants = lipschitz_constants(capture(torch.nn.ReLU(), (2,)))
    >>> constants.of_rows(torch.tensor([[1.0, -1.0]], dtype=torch.float64))  # sqrt(2), rounded up
    tensor([1.4142], dtype=torch.float64)
    """

    norm: NormName
    graph: Graph
    parameters: Parameters
    edges: dict[str, list[tuple[str, float]]]
    forward: dict[str, float]
    backward: dict[str, float]
    hidden: str

    def of_rows(self, specification: Float[Tensor, "*n rows classes"]) -> Float[Tensor, "*n rows"]:
        """Return upper bounds of the constants of linear functions of the logits.

        A row a of the final layer W h + b has the constant ||a W||_dual times that of h: for
        z_p - z_j tighter than sqrt(2) times the constant of all logits.
        """
        return row_norms(self.over_hidden(specification), self.norm) * self.forward[self.hidden] * _UP

    def over_hidden(self, specification: Float[Tensor, "*n rows classes"]) -> Tensor:
        """Return rows over the logits as rows over the last hidden value."""
        if self.hidden == self.graph.output:
            return specification
        final = self.graph[self.graph.output].kind
        return specification @ self.parameters[final.weight]  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def total(self) -> float:
        """An upper bound of the constant of the vector of logits."""
        return self.forward[self.graph.output]


def lipschitz_constants(
    graph: Graph, norm: NormName = "l2", *, parameters: Parameters | None = None
) -> LipschitzConstants:
    """Return verified upper bounds of a network's global Lipschitz constants: products and sums along its graph.

    Parameters
    ----------
    graph
        The network.
    norm
        ``"l2"``, ``"linf"`` or ``"l1"``: of the ball it is for.
    parameters
        In place of the graph's own.

    Raises
    ------
    UnsupportedOperation
        If a node has no finite constant; the node is named.

    Examples
    --------
    >>> import torch
    >>> from epsball.certificates import lipschitz_constants
    >>> from epsball.graph import capture
    >>> round(lipschitz_constants(capture(torch.nn.Sigmoid(), (2,))).total, 4)
    0.25
    """
    lookup(dict.fromkeys(get_args(NormName)), norm, "norm")
    source = graph.parameters if parameters is None else parameters
    wide = {name: tensor.detach().to(torch.float64) for name, tensor in source.items()}
    final = graph[graph.output]
    hidden = final.inputs[0] if isinstance(final.kind, kinds.Linear) else graph.output
    forward: dict[str, float] = {graph.input.name: 1.0}
    edges: dict[str, list[tuple[str, float]]] = {}
    for node in graph.nodes:
        if isinstance(node.kind, (kinds.Input, kinds.Constant)):
            forward.setdefault(node.name, 0.0)
            continue
        pair = sorted_pair(node, graph)
        edges[node.name] = [(pair, 1.0)] if pair else [*zip(node.inputs, factors(node, graph, wide, norm), strict=True)]
        parts = [factor * forward[name] for name, factor in edges[node.name]]
        forward[node.name] = _joined(parts, norm) if isinstance(node.kind, _JOINING) else sum(parts) * _UP
    return LipschitzConstants(
        norm=norm,
        graph=graph,
        parameters=wide,
        edges=edges,
        forward=forward,
        backward=_backward(graph, edges, hidden),
        hidden=hidden,
    )


def _backward(graph: Graph, edges: dict[str, list[tuple[str, float]]], hidden: str) -> dict[str, float]:
    backward = dict.fromkeys((node.name for node in graph.nodes), 0.0)
    backward[hidden] = 1.0
    for node in reversed(graph.nodes):
        for name, factor in edges.get(node.name, ()):
            backward[name] = (backward[name] + factor * backward[node.name]) * _UP
    return backward


def _joined(parts: list[float], norm: str) -> float:
    """Return the bound of values side by side: their moves are parts of one vector."""
    if norm == "linf":
        return max(parts)
    return (math.hypot(*parts) if norm == "l2" else sum(parts)) * _UP


def sorted_pair(node: Node, graph: Graph) -> str | None:
    """Return the node whose entries `node` sorts in pairs, or None.

    The pattern is concatenate(max(a, b), min(a, b)) of two disjoint slices a and b of one node: counted separately,
    maximum, minimum and concatenation would count each entry twice. Sorting moves no two points apart.
    """
    if not isinstance(node.kind, kinds.Concatenate) or len(node.inputs) != 2:
        return None
    greater, less = (graph[name] for name in node.inputs)
    if {type(greater.kind), type(less.kind)} != {kinds.Maximum, kinds.Minimum}:
        return None
    if set(greater.inputs) != set(less.inputs):
        return None
    first, second = (graph[name] for name in greater.inputs)
    # Slices of different shape are broadcast, so entries are repeated.
    return first.inputs[0] if first.shape == second.shape and _disjoint(first, second) else None


def _disjoint(first: Node, second: Node) -> bool:
    a, b = first.kind, second.kind
    if not (isinstance(a, kinds.Slice) and isinstance(b, kinds.Slice)) or first.inputs != second.inputs:
        return False
    return a.axis == b.axis and not set(range(a.start, a.end, a.step)) & set(range(b.start, b.end, b.step))
