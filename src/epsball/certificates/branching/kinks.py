"""Piecewise linear functions of one variable as sums of rectifiers: f(z) = c + a z + sum_u w_u relu(z - t_u)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.propagation import Propagation
from epsball.graph import Graph, Node
from epsball.graph.kinds import Constant, Elementwise, Input, Parameters, PReLU

FUNCTIONS = ("relu", "leaky_relu", "abs", "clamp")
"""The functions of `Elementwise` that are such sums and not affine."""


class Pieces(NamedTuple):
    """f(z) = constant + slope z + sum over kinks of weight relu(z - kink), for each entry of a node.

    Parameters
    ----------
    constant, slope
        A number, and a number per entry, (size,).
    kinks, weights
        The places t of the kinks, and for each the change of slope there, (size,).
    """

    constant: float
    slope: Tensor
    kinks: tuple[float, ...]
    weights: tuple[Tensor, ...]


def is_bent(node: Node) -> bool:
    """Return whether a node is piecewise linear and can be split at its kinks."""
    return isinstance(node.kind, PReLU) or (isinstance(node.kind, Elementwise) and node.kind.function in FUNCTIONS)


def pieces(node: Node, parameters: Parameters) -> Pieces:
    """Return a node that `is_bent` as a sum of rectifiers.

    Below its kink relu, leaky and parametric ReLU and abs have the slope a, above it 1. clamp to [t, s] is
    t + relu(z - t) - relu(z - s).
    """
    size = math.prod(node.shape)
    if isinstance(node.kind, Elementwise) and node.kind.function == "clamp":
        low, high = node.kind.arguments
        ones, kinks = torch.ones(size, dtype=torch.float64), []
        kinks += [(low, ones)] if math.isfinite(low) else []
        kinks += [(high, -ones)] if math.isfinite(high) and high > low else []
        starts = math.isfinite(low)
        slope = torch.zeros_like(ones) if starts else ones
        found = Pieces(low if starts else 0.0, slope, tuple(t for t, _ in kinks), tuple(w for _, w in kinks))
        return found if high > low else Pieces(high, torch.zeros_like(ones), (), ())
    below = _slope_below(node, parameters)
    return Pieces(0.0, below, (0.0,), (1 - below,))


def _slope_below(node: Node, parameters: Parameters) -> Tensor:
    size = math.prod(node.shape)
    if isinstance(node.kind, PReLU):
        slope = parameters[node.kind.slope].to(torch.float64).view(-1, *(1,) * (len(node.shape) - 1))
        return slope.expand(node.shape).reshape(size)
    kind: Elementwise = node.kind  # pyright: ignore[reportAssignmentType]
    fixed = {"relu": 0.0, "abs": -1.0}
    slope = fixed[kind.function] if kind.function in fixed else (*kind.arguments, 0.01)[0]
    return torch.full((size,), slope, dtype=torch.float64)


def unsplittable(graph: Graph, bounds: Propagation) -> str | None:
    """Return the first node that is neither affine nor bent at kinks alone, in words, or None."""
    for node in graph.nodes:
        if isinstance(node.kind, Input | Constant) or node.name in graph.constant or is_bent(node):
            continue
        if bounds.form(node) is None:
            what = node.kind.function if isinstance(node.kind, Elementwise) else type(node.kind).__name__
            return f"node '{node.name}' ({node.origin or 'no origin'}) is a {what}"
    return None
