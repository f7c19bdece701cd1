"""Regularisers of the warm-up: tight bounds, and rectifiers of both states."""

import math

import torch
from torch import Tensor

from epsball.certificates import Propagation
from epsball.graph import Graph, Node
from epsball.graph.kinds import Convolution, Elementwise, Linear, PReLU
from epsball.training.objectives.objective import Context

_LEAST = 1e-12


def rectifiers(graph: Graph) -> list[Node]:
    """Return the rectifiers of a graph, in order."""
    return [
        node
        for node in graph.nodes
        if isinstance(node.kind, PReLU)
        or (isinstance(node.kind, Elementwise) and node.kind.function in ("relu", "leaky_relu"))
    ]


def warm_up_regulariser(bounds: Propagation, context: Context, tolerance: float) -> Tensor:
    """Return L_tightness + L_relu of the batch, with tau = `tolerance`.

    With D_0 the mean half-width of what the first layer takes and, for each of m rectifiers with inputs in [l, u], D_i
    that of its inputs, c = (l + u) / 2, and means and sums over the examples and the neurons,

        L_tightness = 1 / (tau m) sum_i max(0, tau - D_0 / D_i),
        L_relu = 1 / (tau m) sum_i max(0, tau - a) + max(0, tau - v),

    where a is the ratio of mean(c, where l > 0) and -mean(c, where u < 0), v that of the sums of (c - mean(c))^2 over
    the same two sets, each with the smaller number above. A rectifier without neurons of both kinds has no second term.

    References
    ----------
    Shi et al., "Fast certified robust training with short warmup" (NeurIPS 2021), section 3.4, as their code has it.
    """
    graph = bounds.graph
    first = next(node for node in graph.nodes if isinstance(node.kind, Linear | Convolution))
    nodes = [graph[node.inputs[0]] for node in rectifiers(graph)]
    low, high = bounds.boxes[first.inputs[0]]
    sums = [((high - low) / 2).sum()[None]] + [_moments(*bounds.boxes[node.name]) for node in nodes]
    total = _over_processes(torch.cat(sums), context) / context.total
    width = total[0] / math.prod(graph[first.inputs[0]].shape)
    rows = total[1:].view(len(nodes), -1)
    terms = [
        _tightness(width, row, math.prod(node.shape), tolerance) + _balance(row, math.prod(node.shape), tolerance)
        for row, node in zip(rows, nodes, strict=True)
    ]
    return torch.stack(terms).mean()


def _moments(low: Tensor, high: Tensor) -> Tensor:
    """Return sums of the half-width and the centre c; over active and over inactive neurons those of 1, c and c^2."""
    centre = (low + high) / 2
    active, inactive = (low > 0).to(centre.dtype), (high < 0).to(centre.dtype)
    parts = [(high - low) / 2, centre]
    for where in (active, inactive):
        parts += [where, where * centre, where * centre.square()]
    return torch.stack([part.sum() for part in parts])


def _tightness(width: Tensor, sums: Tensor, size: int, tolerance: float) -> Tensor:
    return (tolerance - width / (sums[0] / size).clamp(min=_LEAST)).clamp(min=0) / tolerance


def _balance(sums: Tensor, size: int, tolerance: float) -> Tensor:
    mean = sums[1] / size
    (ones, means, squares), (others, other_means, other_squares) = sums[2:5], sums[5:8]
    if float(ones.detach()) == 0 or float(others.detach()) == 0:
        return torch.zeros_like(mean)
    spread = squares - 2 * mean * means + mean.square() * ones
    other_spread = other_squares - 2 * mean * other_means + mean.square() * others
    return sum(
        (tolerance - _ratio(a, b)).clamp(min=0) / tolerance
        for a, b in ((means, -other_means), (spread.clamp(min=0), other_spread.clamp(min=0)))
    )  # pyright: ignore[reportReturnType]


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Return the smaller of a / b and b / a, for positive numbers."""
    return torch.minimum(a / b.clamp(min=_LEAST), b / a.clamp(min=_LEAST))


def _over_processes(local: Tensor, context: Context) -> Tensor:
    """Return sums over all processes.

    The engine adds the processes' gradients and divides the term of the weights by their number, so that the gradient
    of this process's own part counts that many times.
    """
    if context.processes.count == 1:
        return local
    (total,) = context.sum([local.detach()])
    return total + context.processes.count * (local - local.detach())
