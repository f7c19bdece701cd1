"""Affine forms of the kinds without parameters: sums, means, pooling, and moving entries."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from epsball.certificates.affine.form import Affine, transpose_of
from epsball.certificates.tensors import summed_to
from epsball.errors import UnsupportedOperation
from epsball.graph import Graph, Node
from epsball.graph.kinds import (
    AdaptiveAveragePool,
    AveragePool,
    Kind,
    Mean,
    Pad,
    Parameters,
    Permute,
    Reshape,
    Sum,
    Upsample,
)

NO_PARAMETERS: Mapping[str, Tensor] = {}


def combined(node: Node, graph: Graph, *, sign: float) -> Affine:
    """Return the form of a + b, or (`sign` -1) of a - b, with axes of length 1 repeated."""
    first, second = (graph[name].shape for name in node.inputs)
    repeated = math.prod(node.shape) // max(1, min(math.prod(first), math.prod(second)))
    return Affine(
        apply=lambda a, b: a + b if sign > 0 else a - b,
        spread=lambda a, b: a + b,
        transpose=lambda rows: (summed_to(rows, first), summed_to(rows if sign > 0 else -rows, second)),
        # A Python scalar is rounded to the tensor's type first.
        terms=3 + repeated,
        signs=(1, 1 if sign > 0 else -1),
    )


def reshape(node: Node, kind: Reshape, graph: Graph, parameters: Parameters) -> Affine:
    """Return the form of a reshape."""
    shape = graph[node.inputs[0]].shape
    forward = _forward(kind)
    return Affine(
        apply=forward, spread=forward, transpose=lambda rows: (rows.reshape(len(rows), *shape),), terms=0, exact=True
    )


def permute(node: Node, kind: Permute, graph: Graph, parameters: Parameters) -> Affine:
    """Return the form of a permutation of axes."""
    inverse = sorted(range(len(kind.axes)), key=kind.axes.__getitem__)
    forward = _forward(kind)
    return Affine(
        apply=forward,
        spread=forward,
        transpose=lambda rows: (rows.permute(0, *(axis + 1 for axis in inverse)),),
        terms=0,
        exact=True,
    )


def moved(node: Node, kind: Kind, graph: Graph, parameters: Parameters) -> Affine:
    """Return the form of a kind that copies entries; an input entry may go to every output."""
    forward = _forward(kind)
    shapes = _input_shapes(node, graph)
    return Affine(
        apply=forward,
        spread=forward,
        transpose=transpose_of(forward, shapes),
        terms=math.prod(node.shape) + 1,
        exact=True,
    )


def pad(node: Node, kind: Pad, graph: Graph, parameters: Parameters) -> Affine:
    """Return the form of padding; a constant border is the bias."""
    if kind.mode == "constant" and not math.isfinite(kind.value):
        raise UnsupportedOperation(
            f"no bounds for padding by {kind.value} ({node.origin or 'no origin'}); max pooling pads by -inf itself: "
            "give it padding=, or pad by a finite number."
        )
    bare = _forward(dataclasses.replace(kind, value=0.0))
    shapes = _input_shapes(node, graph)
    bias = None
    if kind.mode == "constant" and kind.value != 0:
        bias = _forward(kind)(torch.zeros(1, *shapes[0]).to(torch.float64))
    return Affine(
        apply=_forward(kind),
        spread=bare,
        transpose=transpose_of(bare, shapes),
        bias=bias,
        terms=2 ** len(node.shape) + 1,
        # The deployed border is the value rounded to float32.
        exact=torch.tensor(kind.value).item() == kind.value,
    )


def averaged(
    node: Node, kind: AveragePool | AdaptiveAveragePool | Sum | Mean, graph: Graph, parameters: Parameters
) -> Affine:
    """Return the form of a sum or a mean: a sum of `count` entries and at most two more roundings.

    The sum of which a mean is taken may overflow, though the mean does not.
    """
    forward = _forward(kind)
    shapes = _input_shapes(node, graph)
    count = _count(kind, shapes[0], node.shape)
    divisor = getattr(kind, "divisor", None)
    if divisor is not None and divisor <= 0:
        raise UnsupportedOperation(f"no bounds for average pooling with the divisor {divisor}; give a positive one.")
    most = count if divisor is None else max(count, divisor)
    return Affine(
        apply=forward,
        spread=forward,
        transpose=transpose_of(forward, shapes),
        terms=count + 3,
        signs=(1,),
        inner=None if isinstance(kind, Sum) else lambda size, magnitude: magnitude * most,
    )


def _count(kind: Kind, shape: tuple[int, ...], result: tuple[int, ...]) -> int:
    if isinstance(kind, Sum | Mean):
        return math.prod(shape[axis] for axis in kind.axes)
    if isinstance(kind, AveragePool):
        return math.prod(kind.kernel)
    return math.prod(length // parts + 2 for length, parts in zip(shape[1:], result[1:], strict=True))


def upsample(node: Node, kind: Upsample, graph: Graph, parameters: Parameters) -> Affine:
    """Return the form of an interpolation.

    "nearest" copies. The linear modes place each sample at a computed coordinate, off by a few units of the
    axis' length, so that weights move between neighbours: the error is bounded through the largest entry.
    """
    forward = _forward(kind)
    shapes = _input_shapes(node, graph)
    transpose = transpose_of(forward, shapes)
    if kind.mode in ("nearest", "nearest-exact"):
        return Affine(apply=forward, spread=forward, transpose=transpose, terms=math.prod(node.shape) + 1, exact=True)
    axes = len(kind.size)
    return Affine(
        apply=forward,
        spread=forward,
        reach=lambda x: x.flatten(2).amax(dim=2).view(len(x), -1, *(1,) * axes).expand(len(x), *node.shape),
        transpose=transpose,
        terms=16 * axes * (sum(kind.size) + sum(shapes[0][1:])) + 16,
    )


def _forward(kind: Kind) -> Callable[..., Tensor]:
    return lambda *values: kind.forward(*values, parameters=NO_PARAMETERS)


def _input_shapes(node: Node, graph: Graph) -> Sequence[tuple[int, ...]]:
    return [graph[name].shape for name in node.inputs]
