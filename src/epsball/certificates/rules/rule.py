"""`Rule`: how the values of a kind that is not affine are bounded."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from epsball.certificates.arithmetic import Format
from epsball.certificates.box import Box
from epsball.graph import Graph, Node
from epsball.graph.kinds import Parameters


@dataclass(frozen=True, kw_only=True)
class NodeContext:
    """A node as its rule sees it.

    Parameters
    ----------
    node, graph, parameters
        The node, its graph, and the parameters in use.
    """

    node: Node
    graph: Graph
    parameters: Parameters

    @property
    def kind(self) -> Any:
        """The node's kind."""
        return self.node.kind

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of an input."""
        return self.graph[self.node.inputs[index]].shape


class BackwardBound(NamedTuple):
    """Rows a . y over a node's output, bounded below by rows over its inputs.

    a . y >= sum_i rows_i . x_i + constant - error, in real arithmetic on the numbers stored.
    """

    rows: Sequence[Tensor]
    constant: Tensor
    error: Tensor


class Rule(ABC):
    """Interval and linear relaxation of one kind."""

    @abstractmethod
    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return bounds of f over the boxes, as the kind computes them in the boxes' type."""

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return a bound on abs(computed - f), (n, *shape), where f is computed in `format` on points of the boxes.

        It depends on the values f, which lie in `box`, only through their size c abs(f), c < 1. So what is computed
        is least where f is least, and a box whose two ends agree gives the error at that value. By default 0.
        """
        return 0.0

    def intermediate(self, context: NodeContext, boxes: Sequence[Box], box: Box) -> Tensor:
        """Return a bound on the magnitude of everything a kernel meets on its way; by default that of its value."""
        return box.magnitude

    def floor(self, context: NodeContext, boxes: Sequence[Box]) -> Tensor | float:
        """Return a number that no computed value is below, whatever its rounding; by default -infinity."""
        return -math.inf

    def unstable(self, context: NodeContext, boxes: Sequence[Box]) -> Sequence[Tensor]:
        """Return for each input the neurons whose tighter bounds make a tighter relaxation, (n, *shape) of bool.

        By default all that vary.
        """
        return [box.high > box.low for box in boxes]

    @abstractmethod
    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> Any:
        """Return the linear relaxation over the boxes: tensors whose first axis is the examples."""

    @abstractmethod
    def backward(self, context: NodeContext, relaxation: Any, rows: Tensor) -> BackwardBound:
        """Return rows over the output, (n, r, *shape), as rows over the inputs that bound them below."""
