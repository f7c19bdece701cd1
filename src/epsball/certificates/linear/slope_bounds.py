"""The lower slopes a rectifier may have."""

import torch
from torch import Tensor

from epsball.certificates.curves import Lines
from epsball.certificates.propagation import Propagation
from epsball.graph import Node
from epsball.graph.kinds import Elementwise, PReLU


def slope_limits(bounds: Propagation) -> dict[str, tuple[Tensor, Tensor]]:
    """Return for each rectifier bounded so far the least and the largest valid lower slope, (n, 1, *shape)."""
    nodes = [bounds.graph[name] for name in bounds.boxes]
    return {node.name: _limits(bounds, node) for node in nodes if _free(node)}


def _free(node: Node) -> bool:
    """Return whether a node is a rectifier, of which any slope between its two gives a lower line through 0."""
    return isinstance(node.kind, PReLU) or (
        isinstance(node.kind, Elementwise) and node.kind.function in ("relu", "leaky_relu")
    )


def _limits(bounds: Propagation, node: Node) -> tuple[Tensor, Tensor]:
    """Return the least and the largest lower slope that is valid, (n, 1, *shape).

    Where the sign of x is known, or the rectifier is concave (and its lower line a chord), there is no choice.
    """
    lines: Lines = bounds.relaxation(node)
    low, high = (part.unsqueeze(1) for part in bounds.boxes[node.inputs[0]])
    free = (low < 0) & (high > 0) & (lines.lower == 0)
    at_minus_one = node.kind.forward(-torch.ones_like(low[:, 0]), parameters=bounds.parameters).unsqueeze(1)
    return (
        torch.where(free, torch.minimum(-at_minus_one, torch.ones_like(low)), lines.lower_slope),
        torch.where(free, 1.0, lines.lower_slope),
    )
