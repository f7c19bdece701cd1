"""Small ONNX models, written by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_GENERATOR = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    """Return float32 weights."""
    return (_GENERATOR.standard_normal(shape) / max(shape[-1], 1) ** 0.5).astype(np.float32)


def save(
    path: Path,
    nodes: Sequence[Any],
    arrays: dict[str, np.ndarray],
    shape: Sequence[int | str],
    opset: int = 17,
    output: Sequence[int | str] | None = None,
    dtype: int = onnx.TensorProto.FLOAT,
) -> Path:
    """Write a model of nodes from "x" to "z"."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("z", dtype, output or [shape[0], 3])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def with_head(
    path: Path,
    nodes: Sequence[Any],
    arrays: dict[str, np.ndarray],
    shape: Sequence[int | str],
    width: int,
    opset: int = 17,
) -> Path:
    """Write a model of nodes from "x" to "y", flattened, and a linear layer to 3 logits "z"."""
    tail = [
        helper.make_node("Flatten", ["y"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head", "shift"], ["z"], transB=1),
    ]
    head = {"head": weights(3, width), "shift": weights(3)}
    return save(path, [*nodes, *tail], {**arrays, **head}, shape, opset)
