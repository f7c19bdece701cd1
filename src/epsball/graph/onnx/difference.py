"""Where a graph and onnxruntime first differ."""

import math

import numpy as np
import torch
from torch import Tensor

from epsball.errors import EpsballError
from epsball.graph.onnx.file import OnnxFile
from epsball.graph.onnx.session import Session
from epsball.graph.onnx.translation import Translation
from epsball.graph.value import Value

_TOLERANCE = 1e-3


def first_difference(translation: Translation, file: OnnxFile, arranged: np.ndarray, x: Tensor) -> str:
    """Return the first node of a file whose result differs at one example, for messages; empty if none is found.

    Parameters
    ----------
    translation
        The graph, and what each tensor of the file became.
    file
        The file.
    arranged, x
        The example as the file takes it, and as the graph does.
    """
    graph, nodes = translation.graph, translation.ending.nodes
    exact = {name: tensor.double() for name, tensor in graph.parameters.items()}
    known = {node.name for node in graph.nodes}
    made = {name: node for node in nodes for name in node.output}
    taken = {name: translation.values.get(name) for name in made}
    compared = {name: value for name, value in taken.items() if isinstance(value, Value) and value.node in known}
    try:
        tensors = Session(file, list(compared), nodes).tensors(arranged)
        with torch.no_grad():
            computed = graph.values(x.double(), exact)
    except (EpsballError, RuntimeError):
        return ""
    for (name, value), tensor in zip(compared.items(), tensors, strict=True):
        ours, theirs = computed[value.node].reshape(-1), torch.as_tensor(np.asarray(tensor, np.float64)).reshape(-1)
        node = f"{made[name].op_type} {made[name].name or name}"
        if len(ours) != len(theirs):
            shape = ", ".join(map(str, np.shape(tensor)))
            return f"{node}, whose result has shape ({shape}) in onnxruntime and {_written(value)} here"
        scale = float(theirs[theirs.isfinite()].abs().amax()) if theirs.isfinite().any() else math.inf
        if not torch.allclose(ours, theirs, rtol=0, atol=_TOLERANCE * scale, equal_nan=True):
            return node
    return ""


def _written(value: Value) -> str:
    return f"({', '.join(map(str, value.shape))})"
