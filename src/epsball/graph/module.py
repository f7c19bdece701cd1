"""`GraphModule`: a graph as a PyTorch module."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from epsball.errors import InputError
from epsball.graph._graph import Graph


class Tensors(nn.Module):
    """Copies of tensors under the names "0", "1", ...: parameters, or buffers where they are fixed."""

    def __init__(self, tensors: Sequence[Tensor], fixed: Sequence[bool]) -> None:
        super().__init__()
        for number, (tensor, stays) in enumerate(zip(tensors, fixed, strict=True)):
            if stays or not tensor.is_floating_point():
                self.register_buffer(str(number), tensor.detach().clone())
            else:
                self.register_parameter(str(number), nn.Parameter(tensor.detach().clone()))

    def in_order(self) -> list[Tensor]:
        """Return the tensors by their numbers."""
        return [getattr(self, str(number)) for number in range(len(self._parameters) + len(self._buffers))]

    def extra_repr(self) -> str:
        """Return how many there are, for the module's text."""
        return f"{len(self._parameters)} parameters, {len(self._buffers)} buffers"


class GraphModule(nn.Module):
    """Runs a graph, differentiably; its parameters and buffers are those of the graph, sorted by name.

    Running statistics, other buffers of the source and numbers in its code are buffers: training leaves them alone.

    Parameters
    ----------
    graph
        The graph.

    Attributes
    ----------
    graph
        The graph, with the parameters it was captured with.
    tensors
        The parameters and buffers the module runs with, named by their places.

    Examples
    --------
    >>> from torch import nn
    >>> from epsball.graph import capture
    >>> GraphModule(capture(nn.Linear(4, 2), (4,)))
    GraphModule(
      Linear, 2 nodes
      (tensors): Tensors(2 parameters, 0 buffers)
    )
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._names = sorted(graph.parameters)
        self.tensors = Tensors(
            [graph.parameters[name] for name in self._names], [n in graph.fixed for n in self._names]
        )

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the logits.

        Raises
        ------
        InputError
            If the inputs do not have the shape the graph takes.
        """
        shape = self.graph.input.shape
        if tuple(x.shape[1:]) != shape:
            raise InputError(f"x is {tuple(x.shape)}; {self.graph.source} takes inputs of shape (n, {_listed(shape)}).")
        return self.graph(x, dict(zip(self._names, self.tensors.in_order(), strict=True)))

    def extra_repr(self) -> str:
        """Return the source and the number of nodes for the module's text."""
        return f"{self.graph.source}, {len(self.graph.nodes)} nodes"


def _listed(shape: tuple[Any, ...]) -> str:
    return ", ".join(map(str, shape))
