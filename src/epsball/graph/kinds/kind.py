"""The protocol of a kind of node: a frozen dataclass of attributes with the function it computes."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

Parameters = Mapping[str, Tensor]
"""Parameters of a graph by name; an interpreter may be given others than the captured ones."""


@runtime_checkable
class Kind(Protocol):
    """One kind of node.

    Its fields are integers, floats, strings, tuples of them, and names of parameters, so that a
    node can be written to a file. Shapes and axes are those of one example: the batch is
    implicit, axis 0 of an example is axis 1 of the tensors.
    """

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the node's value on a batch, from the values of its inputs, each (n, ...) or (1, ...)."""
        ...
