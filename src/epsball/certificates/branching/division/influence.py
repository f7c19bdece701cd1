"""How much each input may move a network's outputs: what decides across which input a box is halved."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.propagation import Propagation
from epsball.graph.kinds import Input

MOST_INPUTS = 64
"""Inputs up to which it is computed: it carries one column per input."""


def influence(bounds: Propagation) -> Float[Tensor, "n d classes"] | None:
    """Return S, abs(W_L) D_(L-1) abs(W_(L-1)) ... D_1 abs(W_1): one column per input, carried forward.

    W are the affine nodes, D the slopes of the lines above functions of one variable: 1 and 0 where a ReLU's sign is
    known, that of its chord elsewhere. No terms cancel, so that an input counts which acts through the width of
    relaxations only. None where a node is neither affine nor between two lines, or there are too many inputs.

    References
    ----------
    The smear of Wang et al., "Formal security analysis of neural networks using symbolic intervals" (USENIX Security
    2018), with chords' slopes in place of intervals of gradients.
    """
    graph, n = bounds.graph, len(bounds.domain)
    d = math.prod(graph.input.shape)
    if d > MOST_INPUTS:
        return None
    columns: dict[str, Tensor] = {}
    for node in graph.nodes:
        if node.name in graph.constant:
            continue
        form = bounds.form(node)
        if isinstance(node.kind, Input):
            own = torch.eye(d, dtype=torch.float64).view(1, d, *node.shape).expand(n, d, *node.shape)
        elif form is not None and all(name in columns for name in bounds.sources(node)):
            own = form.spread(*(columns[name].flatten(0, 1) for name in bounds.sources(node))).unflatten(0, (n, d))
        elif isinstance(lines := bounds.relaxation(node), LinearRelaxation):
            own = columns[node.inputs[0]] * torch.maximum(lines.upper_slope.abs(), lines.lower_slope.abs())
        else:
            return None
        columns[node.name] = own
    return columns[graph.output]
