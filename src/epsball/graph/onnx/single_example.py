"""Which nodes of a file are written for one example, though its batch axis may be free."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from epsball.graph.onnx.rule import numbers
from epsball.graph.value import Value


def fixes_one_example(node: Any, values: Mapping[str, Any]) -> bool:
    """Return whether a node takes the batch to have one row: its shape says so, or a constant it joins has one.

    Parameters
    ----------
    node
        The node; its inputs that are computed from shapes do not count and are excluded by the caller.
    values
        What the tensors of the file became, the node's results included.
    """
    given = [values.get(name) for name in node.input]
    x, result = next((v for v in given if isinstance(v, Value)), None), values.get(node.output[0])
    if x is None or x.axis is None or not isinstance(result, Value):
        return False
    second = given[1] if len(given) > 1 else None
    if node.op_type == "Reshape" and isinstance(second, np.ndarray) and result.axis is not None:
        return numbers(second)[result.axis] > 0
    if node.op_type == "Resize":
        return len(given) > 3 and isinstance(given[3], np.ndarray) and len(given[3]) == x.rank
    if node.op_type == "Squeeze":
        return x.dropped and not result.dropped
    return node.op_type == "Concat" and any(isinstance(value, np.ndarray) for value in given)
