"""Bounds of the dual network: every rectifier between two parallel lines, at every layer.

At a rectifier whose input z lies in [l, u] with l < 0 < u, d z <= relu(z) <= d (z - l), d = u / (u - l). The dual of
the linear program over these lines has the closed form of a backward sweep (Wong and Kolter, ICML 2018, theorem 1).
Bounds of inner layers are made as those of the logits are, by a row for each neuron, or estimated from random
projections (Wong, Schmidt, Metzen and Kolter, NeurIPS 2018, section 3.2).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates import Box, Propagation
from epsball.certificates.affine import affine_form
from epsball.certificates.linear import sweep
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.propagation import Refine
from epsball.errors import UnsupportedOperation
from epsball.graph import Graph, Node
from epsball.graph.kinds import Constant, Elementwise, Input
from epsball.randomness import Keys

_INPUT = "input"


def dual_rectifiers(graph: Graph) -> list[Node]:
    """Return the rectifiers of a graph.

    Raises
    ------
    UnsupportedOperation
        If a node is neither affine, constant nor a ReLU or leaky ReLU.
    """
    found = []
    for node in graph.nodes:
        kind = node.kind
        if isinstance(kind, Elementwise) and kind.function in ("relu", "leaky_relu"):
            found.append(node)
        elif not isinstance(kind, Input | Constant) and affine_form(node, graph, graph.parameters) is None:
            raise UnsupportedOperation(
                f"the dual network is made of affine layers and rectifiers; {node.origin or node.name} is a "
                f"{type(kind).__name__}. Use the objective 'crown-ibp', which has a rule for it."
            )
    return found


def parallel_slopes(bounds: Propagation) -> dict[str, Tensor]:
    """Return for every rectifier bounded so far the slope of its chord, for its lower line too."""
    nodes = [node for node in dual_rectifiers(bounds.graph) if node.name in bounds.boxes]
    return {node.name: bounds.relaxation(node).upper_slope for node in nodes}


def exact_dual(graph: Graph) -> Refine:
    """Return a `Refine` that bounds what every rectifier takes by one row of the dual network per neuron and side."""
    wanted = {node.inputs[0] for node in dual_rectifiers(graph)}

    def refine(bounds: Propagation, node: Node) -> Box:
        box = bounds.boxes[node.name]
        if node.name not in wanted:
            return box
        size = math.prod(node.shape)
        rows = torch.eye(size, dtype=box.low.dtype, device=box.low.device).view(1, size, *node.shape)
        slopes = parallel_slopes(bounds)
        low = sweep(bounds, node.name, Coefficients(rows), slopes=slopes)
        high = -sweep(bounds, node.name, Coefficients(-rows), slopes=slopes)
        return Box(low.view(-1, *node.shape), high.view(-1, *node.shape))

    return refine


class Projected(NamedTuple):
    """A value as a function of the input and of where each rectifier lies between its lines.

    ``centre``, (n, *shape), is that at the middle of all of them; ``parts`` holds, for the input and for each
    rectifier, (n, k, *shape), the images of k random vectors times the half-width there.
    """

    centre: Tensor
    parts: dict[str, Tensor]


def projected_dual(graph: Graph, count: int, keys: Keys) -> Refine:
    """Return a `Refine` that estimates the bounds of `exact_dual` from random vectors sent forward.

    The l1 norm of a row a is the median of abs(a . r) over vectors r of Cauchy variables, its l2 norm the root mean
    square over vectors of normal ones; a . r for all rows a of a layer is one pass of r. An estimate proves nothing.

    Parameters
    ----------
    graph, count
        The network, and k, the number of vectors.
    keys
        One key, of the step.
    """
    wanted = {node.inputs[0] for node in dual_rectifiers(graph)}
    values: dict[str, Projected] = {}

    def refine(bounds: Propagation, node: Node) -> Box:
        values[node.name] = found = _projected(bounds, node, values, count, keys)
        if node.name not in wanted:
            return bounds.boxes[node.name]
        half = torch.zeros_like(found.centre)
        for source, part in found.parts.items():
            if source == _INPUT and bounds.domain.norm == "l2":
                half = half + torch.linalg.vector_norm(part, dim=1) / math.sqrt(count)
            else:
                half = half + part.abs().median(dim=1).values
        return Box(found.centre - half, found.centre + half)

    return refine


def _projected(bounds: Propagation, node: Node, values: dict[str, Projected], count: int, keys: Keys) -> Projected:
    if isinstance(node.kind, Constant):
        return Projected(bounds.boxes[node.name].low, {})
    if isinstance(node.kind, Input):
        domain = bounds.domain
        if domain.norm == "l2":
            return Projected(domain.centre, {_INPUT: domain.radius * _draws(domain.centre, count, keys, cauchy=False)})
        half = 0.5 * (domain.box.high - domain.box.low)
        return Projected(domain.box.low + half, {_INPUT: half.unsqueeze(1) * _draws(half, count, keys)})
    form = bounds.form(node)
    sources = [values[name] for name in bounds.sources(node)]
    if form is not None:
        centre = form.apply(*(source.centre for source in sources))
        zeros = [torch.zeros_like(source.centre[:1]) for source in sources]
        shift = form.apply(*zeros)
        parts = {}
        for name in dict.fromkeys(name for source in sources for name in source.parts):
            given = [
                source.parts[name].flatten(0, 1) if name in source.parts else zero
                for source, zero in zip(sources, zeros, strict=True)
            ]
            parts[name] = (form.apply(*given) - shift).unflatten(0, (-1, count))
        return Projected(centre, parts)
    lines = bounds.relaxation(node)
    chord, half = lines.upper_slope, 0.5 * lines.upper[:, 0]
    parts = {name: chord * part for name, part in sources[0].parts.items()}
    parts[node.name] = half.unsqueeze(1) * _draws(half, count, keys.derive(node.name))
    return Projected(chord[:, 0] * sources[0].centre + half, parts)


def _draws(like: Tensor, count: int, keys: Keys, *, cauchy: bool = True) -> Tensor:
    """Return k random vectors, (1, k, *shape), the same for all examples."""
    generator = torch.Generator().manual_seed(int(keys.derive("projections").words[0]) % 2**63)
    draws = torch.empty(1, count, *like.shape[1:], dtype=like.dtype)
    draws = draws.cauchy_(generator=generator) if cauchy else draws.normal_(generator=generator)
    return draws.to(like.device)
