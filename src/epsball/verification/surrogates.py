"""Slopes for a network's jumps, so that a search by gradients gets through them; its values stay the same."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from epsball.graph import Graph
from epsball.graph.kinds import Compare, Parameters, Round, Select


def with_slopes(graph: Graph) -> Graph:
    """Return a network with the same values whose comparisons, choices and rounding have gradients.

    A comparison has those of a sigmoid of the difference over its mean size (equality: of a bell), a choice passes the
    difference of the two on to what chooses, rounding passes gradients on as they are.

    References
    ----------
    Bengio et al., "Estimating or propagating gradients through stochastic neurons" (2013): the straight-through
    estimator.
    """
    changed = {Compare: _Compare, Select: _Select, Round: _Round}
    nodes = tuple(
        replace(node, kind=changed[type(node.kind)](kind=node.kind)) if type(node.kind) in changed else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _through(value: Tensor, soft: Tensor) -> Tensor:
    """Return a value with the gradient of another tensor."""
    return value + (soft - soft.detach())


@dataclass(frozen=True, kw_only=True)
class _Compare:
    kind: Compare

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        a, b = values
        apart = a - b
        mean = apart.detach().abs().reshape(len(apart), -1).mean(dim=1).clamp(min=torch.finfo(apart.dtype).tiny)
        share = apart / mean.view(-1, *(1,) * (apart.ndim - 1))
        relation = self.kind.relation
        soft = torch.exp(-share.square()) if relation in ("eq", "ne") else torch.sigmoid(share)
        soft = -soft if relation in ("lt", "le", "ne") else soft
        return _through(self.kind.forward(a, b, parameters=parameters), soft)


@dataclass(frozen=True, kw_only=True)
class _Select:
    kind: Select

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        c, a, b = values
        return _through(self.kind.forward(c, a, b, parameters=parameters), c * (a - b).detach())


@dataclass(frozen=True, kw_only=True)
class _Round:
    kind: Round

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        (x,) = values
        return _through(self.kind.forward(x, parameters=parameters), x)
