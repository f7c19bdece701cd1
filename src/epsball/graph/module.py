"""`GraphModule`: a graph as a PyTorch module."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from epsball.errors import InputError
from epsball.graph._graph import Graph


class GraphModule(nn.Module):
    """Runs a graph, differentiably; its parameters are those of the graph, sorted by name.

    Parameters
    ----------
    graph
        The graph.

    Attributes
    ----------
    graph
        The graph, with the parameters it was captured with.
    tensors
        The parameters the module runs with.

    Examples
    --------
    >>> from torch import nn
    >>> from epsball.graph import capture
    >>> GraphModule(capture(nn.Linear(4, 2), (4,)))
    GraphModule(
      Linear, 2 nodes
      (tensors): ParameterList(
          (0): Parameter containing: [torch.float32 of size 2]
          (1): Parameter containing: [torch.float32 of size 2x4]
      )
    )
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._names = sorted(graph.parameters)
        self.tensors = nn.ParameterList([nn.Parameter(graph.parameters[name].clone()) for name in self._names])

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
        return self.graph(x, dict(zip(self._names, self.tensors, strict=True)))

    def extra_repr(self) -> str:
        """Return the source and the number of nodes for the module's text."""
        return f"{self.graph.source}, {len(self.graph.nodes)} nodes"


def _listed(shape: tuple[Any, ...]) -> str:
    return ", ".join(map(str, shape))
