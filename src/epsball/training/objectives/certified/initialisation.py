"""First weights with which interval bounds neither explode nor vanish."""

import math
from typing import Literal

import torch
from torch import nn

from epsball.certificates import LiveNetwork
from epsball.errors import InputError
from epsball.graph import Graph, Node
from epsball.graph.kinds import Add, Convolution, Linear

InitialisationName = Literal["keep", "ibp"]
"""The first weights: those the module came with, or those of Shi et al."""


def layers(graph: Graph) -> dict[Node, Linear | Convolution]:
    """Return the linear layers and convolutions of a graph, in order."""
    return {node: node.kind for node in graph.nodes if isinstance(node.kind, Linear | Convolution)}


def trained_weights(live: LiveNetwork) -> list[nn.Parameter]:
    """Return the weights of the layers before the last that the module trains directly, each once.

    Raises
    ------
    InputError
        If a weight is computed from others, so that it cannot be set.
    """
    found: dict[int, nn.Parameter] = {}
    for node, kind in list(layers(live.graph).items())[:-1]:
        weight = live.parameter(kind.weight)
        if not isinstance(weight, nn.Parameter):
            raise InputError(
                f"initialisation is 'ibp', but the weight in {node.origin or node.name} is computed by the module and "
                "cannot be set. Leave initialisation=keep."
            )
        found[id(weight)] = weight
    return list(found.values())


def initialise_for_intervals(live: LiveNetwork, *, seed: int) -> None:
    """Draw the weights of every layer but the last from N(0, 2 pi / n^2), n the number of its inputs per output.

    The mean of abs(w) is then 2 / n, so that a layer doubles the width of intervals and the ReLU halves it. The weights
    of a layer behind a sum of two branches are halved. Biases, and the last layer, stay. The draws are those of `seed`,
    the same on every device.

    References
    ----------
    Shi et al., "Fast certified robust training with short warmup" (NeurIPS 2021), section 3.2 and, for sums, the
    authors' code.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in trained_weights(live):
            fan_in = weight[0].numel()
            draw = torch.empty(weight.shape, dtype=weight.dtype).normal_(generator=generator)
            weight.copy_(math.sqrt(2 * math.pi) / fan_in * draw)
        for node, kind in list(layers(live.graph).items())[:-1]:
            if _behind_a_sum(live.graph, node):
                live.parameter(kind.weight).mul_(0.5)


def _behind_a_sum(graph: Graph, node: Node) -> bool:
    """Return whether a layer takes a sum of two branches, or what a function of one variable makes of it."""
    source = graph[node.inputs[0]]
    if source.inputs and not isinstance(source.kind, Add):
        source = graph[source.inputs[0]]
    return isinstance(source.kind, Add) and not graph.constant & set(source.inputs)
