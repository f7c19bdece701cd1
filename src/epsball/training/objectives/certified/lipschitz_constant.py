"""A network's Lipschitz constant in l2, differentiable in its weights: estimated, for training only."""

from typing import Any

import torch
from torch import Tensor

from epsball.certificates import LiveNetwork, Propagation
from epsball.certificates.lipschitz.factors import factors
from epsball.certificates.lipschitz.network_constant import sorted_pair
from epsball.graph import Node
from epsball.graph.kinds import BatchNorm, Concatenate, Constant, Convolution, Input, Linear, Maximum, Minimum, PReLU

FIRST, NEXT = 30, 2
"""Steps of power iteration at the first step of training, and at every other, which begins where the last ended."""

_LEAST = 1e-12


def hidden_constant(live: LiveNetwork, bounds: Propagation, state: dict[str, Any]) -> tuple[Tensor, str]:
    """Return the Lipschitz constant of the last hidden value as a function of the input, and that node's name.

    It is the product and sum along the graph of each node's own, as in `epsball.certificates.lipschitz_constants`; the
    norms of linear layers and convolutions are estimated from below by power iteration, ||W v|| at a fixed unit v,
    which is differentiable in W. A certificate takes verified bounds of them instead.

    Parameters
    ----------
    live, bounds
        The network, and any propagation with its parameters: it holds the affine forms.
    state
        Of the objective: the directions v by layer.
    """
    graph = live.graph
    last = graph[graph.output]
    hidden = last.inputs[0] if isinstance(last.kind, Linear) else graph.output
    wide = {name: tensor.detach().double() for name, tensor in bounds.parameters.items()}
    one = bounds.domain.box.low.new_ones(())
    found: dict[str, Tensor] = {}
    for node in graph.nodes:
        if isinstance(node.kind, Input | Constant) or node.name in graph.constant:
            found[node.name] = one if isinstance(node.kind, Input) else torch.zeros_like(one)
        elif (pair := sorted_pair(node, graph)) is not None:
            found[node.name] = found[pair]
        elif isinstance(node.kind, Linear | Convolution | BatchNorm | PReLU):
            found[node.name] = _own(bounds, node, state) * found[node.inputs[0]]
        else:
            parts = [
                factor * found[name] for factor, name in zip(factors(node, graph, wide, "l2"), node.inputs, strict=True)
            ]
            stacked = torch.stack(parts)
            joined = isinstance(node.kind, Concatenate | Maximum | Minimum)
            found[node.name] = torch.linalg.vector_norm(stacked) if joined and len(parts) > 1 else stacked.sum()
        if node.name == hidden:
            break
    return found[hidden], hidden


def _own(bounds: Propagation, node: Node, state: dict[str, Any]) -> Tensor:
    """Return the constant of a node with parameters."""
    kind, parameters = node.kind, bounds.parameters
    if isinstance(kind, BatchNorm):
        gain = torch.rsqrt(parameters[kind.variance] + kind.eps)
        return (gain if kind.weight is None else gain * parameters[kind.weight]).abs().max()
    if isinstance(kind, PReLU):
        return parameters[kind.slope].abs().max().clamp(min=1.0)
    form = bounds.form(node)
    if form is None:
        raise ValueError(f"node '{node.name}' is not affine")
    shape = bounds.graph[node.inputs[0]].shape
    like = bounds.domain.box.low
    zero = like.new_zeros(1, *shape)
    directions = state.setdefault("directions", {})
    v = directions.get(node.name)
    steps = FIRST if v is None else NEXT
    if v is None:
        v = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0), dtype=like.dtype).to(like.device)
    with torch.no_grad():
        bias = form.apply(zero)
        for _ in range(steps):
            (v,) = form.transpose(form.apply(v) - bias)
            v = v / v.norm().clamp(min=_LEAST)
    directions[node.name] = v.detach()
    return (form.apply(v.detach()) - form.apply(zero)).norm()
