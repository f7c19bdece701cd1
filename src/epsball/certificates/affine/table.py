"""The affine forms by kind."""

from collections.abc import Callable
from typing import Any

from epsball.certificates.affine import constant_operands as constants
from epsball.certificates.affine import layers as weighted
from epsball.certificates.affine import parameter_free as moving
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
    Linear: weighted.linear,
    Convolution: weighted.convolution,
    BatchNorm: weighted.batch_norm,
    Add: constants.add,
    Subtract: constants.subtract,
    Multiply: constants.multiply,
    Divide: constants.divide,
    Reshape: moving.reshape,
    Permute: moving.permute,
    Expand: moving.moved,
    Slice: moving.moved,
    Gather: moving.moved,
    Concatenate: moving.moved,
    Pad: moving.pad,
    AveragePool: moving.averaged,
    AdaptiveAveragePool: moving.averaged,
    Sum: moving.averaged,
    Mean: moving.averaged,
    Upsample: moving.upsample,
}


def affine_form(node: Node, graph: Graph, parameters: Parameters) -> Affine | None:
    """Return a node's affine form, or None where its kind is not affine."""
    build = FORMS.get(type(node.kind))
    return None if build is None else build(node, node.kind, graph, parameters)
