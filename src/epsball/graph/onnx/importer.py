"""`read_onnx`: an ONNX file as a graph."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from epsball.errors import EpsballError, InputError, ModelError
from epsball.graph import operations
from epsball.graph._graph import Graph
from epsball.graph.builder import Builder
from epsball.graph.onnx import affine, elementwise, reductions, shaping, windows  # noqa: F401 - they fill the table
from epsball.graph.onnx.file import OnnxFile, onnx_package, read_file
from epsball.graph.onnx.rule import RULES, Call
from epsball.graph.onnx.runtime import check_against_runtime, moves_channels
from epsball.graph.value import Value

_FLOATS = {1: torch.float32, 11: torch.float64}
_MOVES = {
    *("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Slice", "Gather", "Expand", "Tile", "Identity"),
    *("Cast", "ConstantOfShape", "Flatten", "Split", "Where"),
}
"""Operators without arithmetic on floats: on constants they are computed while reading."""


def read_onnx(path: str | Path, *, shape: tuple[int, ...] | None = None) -> Graph:
    """Read an ONNX file as a graph, and check it against onnxruntime at 1,000 random points.

    The batch is the first axis of the input, of any length or written as 1; where a shape in the
    file says 1 for the batch, any number of rows is meant. The check is made once per file and
    remembered in the user's cache folder.

    Parameters
    ----------
    path
        The file.
    shape
        The shape in which inputs come, if not the file's: it must hold as many numbers. Their
        order in memory stays; (c, h, w) for a file of (h, w, c) moves the channels.

    Raises
    ------
    MissingExtra
        If onnx or onnxruntime is not installed.
    InputError
        If the file cannot be read, or leaves lengths open that `shape` does not give.
    UnsupportedOperation
        If an operator has no rule.
    ModelError
        If it is not a classifier of one input, or the graph does not compute what onnxruntime computes.
    """
    path = Path(path).expanduser()
    file = read_file(path)
    spec = _input(file)
    lengths, dtype = _lengths(spec, path, shape), _dtype(spec, path)
    given = shape or lengths
    builder = Builder(given, dtype, {}, path.name)
    values: dict[str, Any] = {**file.arrays, spec.name: _arranged(builder, given, lengths)}
    for node in file.graph.node:
        builder.operation, builder.origin = node.op_type, f"{path.name}, node {node.name or node.output[0]}"
        results = _results(builder, file, node, values)
        values.update(zip(node.output, results, strict=False))
    graph = builder.finish(_logits(builder, file, values))
    check_against_runtime(graph, file, given, lengths)
    return graph


def _input(file: OnnxFile) -> Any:
    """Return the description of the one input."""
    inputs = [given for given in file.graph.input if given.name not in file.arrays]
    if len(inputs) != 1 or len(file.graph.output) != 1:
        raise ModelError(
            f"{file.path} has {len(inputs)} inputs and {len(file.graph.output)} outputs. "
            "A classifier maps one tensor to one tensor of logits."
        )
    return inputs[0]


def _dtype(spec: Any, path: Path) -> torch.dtype:
    code = spec.type.tensor_type.elem_type
    if code not in _FLOATS:
        names = {number: name for name, number in onnx_package().TensorProto.DataType.items()}
        raise ModelError(
            f"{path} takes inputs of type {names.get(code, code)}; float32 and float64 are read. Export it in float32."
        )
    return _FLOATS[code]


def _lengths(spec: Any, path: Path, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of one example as the file has it."""
    sizes = [axis.dim_value if axis.HasField("dim_value") else 0 for axis in spec.type.tensor_type.shape.dim]
    if len(sizes) < 2 or sizes[0] not in (0, 1, -1):
        raise ModelError(
            f"{path} takes inputs of shape {sizes}; its first axis must be the batch, of any length or 1. "
            "Export it for one example, or with a free first axis."
        )
    if all(size > 0 for size in sizes[1:]):
        return tuple(sizes[1:])
    if shape is None or len(shape) != len(sizes) - 1:
        raise InputError(f"{path} leaves lengths of its input open, {sizes[1:]}; give shape=, such as shape=3x32x32.")
    return shape


def _arranged(builder: Builder, given: tuple[int, ...], lengths: tuple[int, ...]) -> Value:
    """Return the input in the shape and order the file takes."""
    builder.operation = "the input"
    if given == lengths:
        return builder.input
    if moves_channels(given, lengths):
        return operations.permute(builder, builder.input, (0, 2, 3, 1))
    if np.prod(given) != np.prod(lengths):
        raise InputError(f"{builder.source} takes inputs of shape {lengths}, which {given} does not fill.")
    return operations.reshape(builder, builder.input, (1, *lengths), 0)


def _results(builder: Builder, file: OnnxFile, node: Any, values: Mapping[str, Any]) -> list[Any]:
    """Return the results of one node."""
    onnx = onnx_package()
    if node.domain not in ("", "ai.onnx"):
        builder.refuse(f"it is an operator of {node.domain}, not of the standard")
    attributes = {entry.name: _attribute(onnx, entry) for entry in node.attribute}
    if node.op_type == "Constant":
        return [_constant(attributes)]
    given = [values[name] if name else None for name in node.input]
    folds = _folds(node, given)
    if not folds and node.op_type not in RULES:
        builder.refuse("the operator has no rule")
    call = Call(builder, file.opset, given, list(node.input), len(node.output), attributes)
    try:
        results = _folded(onnx, file, node, given) if folds else RULES[node.op_type](call)
    except EpsballError:
        raise
    except Exception as error:
        builder.refuse(f"its inputs and attributes do not fit ({type(error).__name__}: {error})")
    return results if isinstance(results, list) else [results]


def _attribute(onnx: Any, entry: Any) -> Any:
    value = onnx.helper.get_attribute_value(entry)
    if isinstance(value, bytes):
        return value.decode()
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _constant(attributes: Mapping[str, Any]) -> np.ndarray:
    ((name, value),) = attributes.items()
    kind = np.float32 if "float" in name else np.int64 if "int" in name else None
    return np.asarray(value, dtype=kind)


def _folds(node: Any, given: list[Any]) -> bool:
    """Return whether a node has constant inputs only and does no arithmetic on floats."""
    if any(isinstance(value, Value) for value in given):
        return False
    return node.op_type in _MOVES or all(value is None or value.dtype.kind != "f" for value in given)


def _folded(onnx: Any, file: OnnxFile, node: Any, given: list[Any]) -> list[Any]:
    """Return the results of a node on constants, as the onnx package defines its operator."""
    evaluator = import_reference()(node, opsets={"": file.opset})
    inputs = {name: value for name, value in zip(node.input, given, strict=True) if name}
    return [np.asarray(result) for result in evaluator.run(None, inputs)]


def import_reference() -> Any:
    """Return onnx's own evaluator, whose import is heavy."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator


def _logits(builder: Builder, file: OnnxFile, values: Mapping[str, Any]) -> Value:
    """Return the output; in a file for one example, a vector is one row of logits."""
    output = values[file.graph.output[0].name]
    builder.operation, builder.origin = "the output", ""
    if not isinstance(output, Value):
        raise ModelError(f"{file.path} returns the same logits for every input.")
    return operations.reshape(builder, output, (1, *output.shape)) if output.rank == 1 else output
