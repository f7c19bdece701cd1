"""`Rule`: what a kind that is not affine gives to the interpreters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from epsball.certificates.arithmetic import Format
from epsball.certificates.box import Box
from epsball.graph import Graph, Node
from epsball.graph.kinds import Parameters


@dataclass(frozen=True, kw_only=True)
class Site:
    """A node where a rule is applied.

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


class Pulled(NamedTuple):
    """Rows a . y over a node's output, bounded below by rows over its inputs.

    a . y >= sum_i rows_i . x_i + constant - error, in real arithmetic on the numbers stored.
    """

    rows: Sequence[Tensor]
    constant: Tensor
    error: Tensor


@runtime_checkable
class Rule(Protocol):
    """Interval and linear relaxation of one kind."""

    def interval(self, site: Site, boxes: Sequence[Box]) -> Box:
        """Return bounds of f over the boxes, as the kind computes them in the boxes' type."""
        ...

    def error(self, site: Site, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return a bound on abs(computed - f), (n, *shape), where f is computed in `format` on points of the boxes.

        It depends on the values f, which lie in `box`, through their size c abs(f), c < 1, alone: so that
        what is computed is least where f is, and a box of one end gives the error there.
        """
        ...

    def floor(self, site: Site) -> float:
        """Return a number that no computed value is below, whatever its rounding."""
        ...

    def undecided(self, site: Site, boxes: Sequence[Box]) -> Sequence[Tensor]:
        """Return for each input the entries whose bounds the relaxation gets better by, (n, *shape) of bool."""
        ...

    def prepare(self, site: Site, boxes: Sequence[Box]) -> Any:
        """Return the relaxation over the boxes: tensors whose first axis is the examples."""
        ...

    def pull(self, site: Site, relaxation: Any, rows: Tensor) -> Pulled:
        """Return rows over the output, (n, r, *shape), as rows over the inputs that bound them below."""
        ...
