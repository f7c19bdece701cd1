"""Affine forms of sums, differences, products and quotients with a constant."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from epsball.certificates.affine.form import Affine
from epsball.certificates.affine.parameter_free import combined
from epsball.certificates.arithmetic import BINARY32
from epsball.certificates.tensors import summed_to
from epsball.graph import Graph, Node
from epsball.graph.kinds import Constant, Expand, Kind, Parameters, Permute, Reshape, Slice

_MOVES = (Reshape, Permute, Expand, Slice)


def constant_value(graph: Graph, name: str, parameters: Parameters) -> Tensor | None:
    """Return the value of a node that only moves entries of a constant, (1, *shape), or None."""
    node = graph[name]
    if isinstance(node.kind, Constant):
        return node.kind.forward(parameters=parameters)
    if isinstance(node.kind, _MOVES):
        value = constant_value(graph, node.inputs[0], parameters)
        return None if value is None else node.kind.forward(value, parameters=parameters)
    return None


def add(node: Node, kind: Kind, graph: Graph, parameters: Parameters) -> Affine:
    """Y = a + b, either of which may be a constant."""
    for varying, constant in ((0, 1), (1, 0)):
        value = constant_value(graph, node.inputs[constant], parameters)
        if value is not None:
            return _shifted(node, graph, varying, value, sign=1)
    return combined(node, graph, sign=1.0)


def subtract(node: Node, kind: Kind, graph: Graph, parameters: Parameters) -> Affine:
    """Y = a - b, either of which may be a constant."""
    value = constant_value(graph, node.inputs[1], parameters)
    if value is not None:
        return _shifted(node, graph, 0, -value, sign=1)
    value = constant_value(graph, node.inputs[0], parameters)
    if value is not None:
        return _shifted(node, graph, 1, value, sign=-1)
    return combined(node, graph, sign=-1.0)


def multiply(node: Node, kind: Kind, graph: Graph, parameters: Parameters) -> Affine | None:
    """Y = c x for a constant c, or None."""
    for varying, constant in ((0, 1), (1, 0)):
        value = constant_value(graph, node.inputs[constant], parameters)
        if value is not None:
            return _scaled(node, graph, varying, lambda x, value=value: x * value, value, value.abs())
    return None


def divide(node: Node, kind: Kind, graph: Graph, parameters: Parameters) -> Affine | None:
    """Y = x / c for a constant c, or None."""
    value = constant_value(graph, node.inputs[1], parameters)
    if value is None or not bool((value != 0).all()):
        return None
    # Below 2^-126 a divisor may be taken for 0.
    inner = torch.where(value.abs() < BINARY32.tiny, torch.inf, 0.0)
    form = _scaled(node, graph, 0, lambda x: x / value, value, 1 / value.abs())
    return replace(form, inner=lambda size, magnitude: magnitude + inner)


def _shifted(node: Node, graph: Graph, varying: int, shift: Tensor, *, sign: int) -> Affine:
    """Y = sign x + shift. A Python number is rounded to the tensor's type first: two terms more."""
    shape = graph[node.inputs[varying]].shape
    return Affine(
        apply=lambda x: shift + x if sign > 0 else shift - x,
        spread=lambda x: x + torch.zeros_like(shift),
        transpose=lambda rows: (summed_to(rows if sign > 0 else -rows, shape),),
        bias=shift,
        terms=3 + _repeats(node, shape),
        pointwise=shape == node.shape,
        takes=(varying,),
        signs=(sign,),
    )


def _scaled(
    node: Node, graph: Graph, varying: int, scale: Callable[[Tensor], Tensor], value: Tensor, size: Tensor
) -> Affine:
    """Y = scale(x), linear in x. A quotient may be a product with a rounded reciprocal: two terms more."""
    shape = graph[node.inputs[varying]].shape
    return Affine(
        apply=scale,
        spread=lambda x: x * size,
        transpose=lambda rows: (summed_to(scale(rows), shape),),
        terms=5 + _repeats(node, shape),
        pointwise=shape == node.shape and all(length == 1 for length in value.shape[2:]),
        takes=(varying,),
        largest=max(size.max().item(), value.abs().max().item()),
    )


def _repeats(node: Node, shape: tuple[int, ...]) -> int:
    """Return into how many outputs an input entry is repeated."""
    count, before = 1, 1
    for length in node.shape:
        count *= length
    for length in shape:
        before *= length
    return count // max(1, before)
