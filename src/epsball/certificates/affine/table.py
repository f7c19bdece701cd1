"""The affine forms by kind."""

from collections.abc import Callable
from typing import Any

from epsball.certificates.affine import constant_operands, layers, parameter_free
from epsball.certificates.affine.form import Affine
from epsball.graph import Graph, Node
from epsball.graph.kinds import (
    AdaptiveAveragePool,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Divide,
    Expand,
    Gather,
    Kind,
    Linear,
    Mean,
    Multiply,
    Pad,
    Parameters,
    Permute,
    Reshape,
    Slice,
    Subtract,
    Sum,
    Upsample,
)

FORMS: dict[type[Kind], Callable[[Node, Any, Graph, Parameters], Affine | None]] = {
    Linear: layers.linear,
    Convolution: layers.convolution,
    BatchNorm: layers.batch_norm,
    Add: constant_operands.add,
    Subtract: constant_operands.subtract,
    Multiply: constant_operands.multiply,
    Divide: constant_operands.divide,
    Reshape: parameter_free.reshape,
    Permute: parameter_free.permute,
    Expand: parameter_free.moved,
    Slice: parameter_free.moved,
    Gather: parameter_free.moved,
    Concatenate: parameter_free.moved,
    Pad: parameter_free.pad,
    AveragePool: parameter_free.averaged,
    AdaptiveAveragePool: parameter_free.averaged,
    Sum: parameter_free.averaged,
    Mean: parameter_free.averaged,
    Upsample: parameter_free.upsample,
}


def affine_form(node: Node, graph: Graph, parameters: Parameters) -> Affine | None:
    """Return a node's affine form, or None where its kind is not affine."""
    build = FORMS.get(type(node.kind))
    return None if build is None else build(node, node.kind, graph, parameters)
