"""A captured network as a list of nodes, which every certificate interprets."""

from epsball.graph import kinds
from epsball.graph._graph import Graph, Node
from epsball.graph.capture import capture
from epsball.graph.module import GraphModule

__all__ = ["Graph", "GraphModule", "Node", "capture", "kinds"]
