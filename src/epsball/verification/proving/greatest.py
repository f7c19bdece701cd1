"""A conjunction's greatest row as one output of the network: the conjunction holds where that is at most 0."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.graph import Graph, Node, kinds


def with_greatest(graph: Graph, conjunctions: Sequence[Sequence[int]]) -> Graph:
    """Return a network of outputs v followed by the maxima of some of them, one output per conjunction.

    Maxima are taken in pairs, level by level,

        max(a, b) = b + relu(a - b),

    so that branch and bound can split them like the network's own rectifiers. All weights are -1, 0 and 1: in real
    numbers nothing is rounded.

    Parameters
    ----------
    graph
        The network; its outputs are v.
    conjunctions
        The numbers of each conjunction's rows.

    Examples
    --------
    >>> import torch
    >>> from epsball.graph import capture
    >>> identity = capture(torch.nn.Identity(), (3,))
    >>> with_greatest(identity, [(0, 1, 2), (1,)])(torch.tensor([[3.0, 1.0, 2.0]]))
    tensor([[3., 1.]])
    """
    last, width = graph.output, graph.classes
    nodes, parameters = list(graph.nodes), dict(graph.parameters)

    def affine(name: str, source: str, weight: Float[Tensor, "m n"]) -> None:
        parameters[f"{name}.weight"] = weight
        kind = kinds.Linear(weight=f"{name}.weight", bias=None)
        nodes.append(Node(name=name, kind=kind, inputs=(source,), shape=(len(weight),), origin="the property"))

    left, level = [list(rows) for rows in conjunctions], 0
    while any(len(rows) > 1 for rows in left):
        one = torch.eye(width, dtype=torch.float32)
        pairs = [(a, b) for rows in left for a, b in zip(rows[::2], rows[1::2], strict=False)]
        names = [f"greatest_{level}_{part}" for part in ("differences", "positive", "joined", "values")]
        affine(names[0], last, torch.stack([one[a] - one[b] for a, b in pairs]))
        shape, both = (len(pairs),), (width + len(pairs),)
        relu = kinds.Elementwise(function="relu")
        nodes.append(Node(name=names[1], kind=relu, inputs=(names[0],), shape=shape, origin="the property"))
        joined = kinds.Concatenate(axis=0)
        nodes.append(Node(name=names[2], kind=joined, inputs=(last, names[1]), shape=both, origin="the property"))
        left, weight = _next(left, width, len(pairs))
        affine(names[3], names[2], weight)
        last, width, level = names[3], len(weight), level + 1
    chosen = torch.eye(width, dtype=torch.float32)[[rows[0] for rows in left]]
    affine("greatest", last, chosen)
    return replace(graph, nodes=tuple(nodes), output="greatest", parameters=parameters)


def _next(left: list[list[int]], width: int, pairs: int) -> tuple[list[list[int]], Float[Tensor, "m n"]]:
    """Return the numbers of what is left of each conjunction, and the rows that make it of values and differences."""
    one = torch.eye(width + pairs, dtype=torch.float32)
    rows: list[Tensor] = []
    found: list[list[int]] = []
    pair = width
    for own in left:
        start = len(rows)
        for b in own[1::2]:
            rows.append(one[b] + one[pair])
            pair += 1
        rows += [one[own[-1]]] if len(own) % 2 else []
        found.append(list(range(start, len(rows))))
    return found, torch.stack(rows)
