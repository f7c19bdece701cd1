"""`Translation`: what an importer has made of a file, before it is checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from epsball.graph._graph import Graph
from epsball.graph.onnx.ending import Ending, Rows


@dataclass(frozen=True)
class Translation:
    """A file as a graph.

    Parameters
    ----------
    graph
        The graph.
    ending
        How the file's output is read.
    rows
        How what it holds for one example becomes a row of logits.
    values
        What each tensor of the file became: a `Value` of the graph, or an array.
    fixed
        Nodes of the file that are written for one example, for messages.
    notes
        What was read otherwise than written.
    """

    graph: Graph
    ending: Ending
    rows: Rows
    values: Mapping[str, Any]
    fixed: tuple[str, ...]
    notes: tuple[str, ...]
