"""`read_onnx`: an ONNX file as a graph."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from epsball.errors import EpsballError, ModelError
from epsball.graph import operations
from epsball.graph._graph import Graph
from epsball.graph.builder import Builder
from epsball.graph.onnx import (  # noqa: F401 - they fill the table
    affine,
    choosing,
    einsum,
    elementwise,
    normalisation,
    reductions,
    scikit,
    shaping,
    windows,
)
from epsball.graph.onnx.ending import Ending, chosen_output, endings, rows_of
from epsball.graph.onnx.file import OnnxFile, onnx_package, read_file
from epsball.graph.onnx.input_shape import Arrangement, arrangement
from epsball.graph.onnx.rule import RULES, Call
from epsball.graph.onnx.runtime import check_against_runtime
from epsball.graph.onnx.session import run_node
from epsball.graph.onnx.single_example import fixes_one_example
from epsball.graph.onnx.translation import Translation
from epsball.graph.value import Value
from epsball.progress import report

_FLOATS = {1: torch.float32, 11: torch.float64}
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_MOVES = {
    *("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Slice", "Gather", "Expand", "Tile", "Identity"),
    *("Cast", "ConstantOfShape", "Flatten", "Split", "Where", "DequantizeLinear"),
}
"""Operators without arithmetic on floats, or with one rounding: on constants they are computed while reading."""

_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}

WAY_OUT = (
    "The file has no graph then, so no gradients and no certificates: attacks that need neither (square, "
    "hop-skip-jump) take it by its text with run=onnxruntime. For more, export the network with other operators "
    "(docs/graph.md lists them), or give the PyTorch module itself, FILE.py:function."
)
"""What a user can do about an operator without a rule."""


def read_onnx(
    path: str | Path | OnnxFile,
    *,
    shape: tuple[int, ...] | None = None,
    data_shape: tuple[int, ...] | None = None,
    output: str | None = None,
    seconds: float | None = None,
) -> Graph:
    """Read an ONNX file as a graph, and check it against onnxruntime at 1,000 random points.

    The batch is the first axis of the input, of any length or written as 1; where a shape in the
    file says 1 for the batch, any number of rows is meant. A softmax, log-softmax or sigmoid at
    the end is taken off, so that the graph returns logits; one score z per example becomes the
    two logits (0, z). What was read otherwise than written is said in the graph's `notes`. The
    check is made once per file and remembered in the user's cache folder.

    Parameters
    ----------
    path
        The file, or what was read of it.
    shape
        The shape in which inputs come, if not the file's: it must hold as many numbers. Their
        order in memory stays; (c, h, w) for a file of (h, w, c) moves the channels.
    data_shape
        The shape of the data, taken like `shape` where it leaves one meaning only: for channels
        last, for lengths that the file leaves open, and for axes of length 1.
    output
        ``"logits"`` (the default), or ``"probabilities"`` to leave the end as it is; the name of
        an output, if the file has several; or ``"NAME:probabilities"``. ``"values"`` is what the file returns,
        whatever its shape and meaning, as one row in row-major order; a file without batch axis, or whose nodes mix
        that axis with others, is then read as a function of one example.
    seconds
        Time after which the check ends, once it has been made at four points; by default it is made at all.

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
    file = path if isinstance(path, OnnxFile) else read_file(Path(path).expanduser())
    dtype = _dtype(file)
    name, reading, notes = chosen_output(file, output)
    order = arrangement(file, shape, data_shape, whole=reading == "values")
    try:
        translation = _read(file, dtype, order, name, reading)
    except ModelError:
        if reading != "values" or order.alone:
            raise
        order = replace(order, free=False, alone=True)
        translation = _read(file, dtype, order, name, reading)
    found = check_against_runtime(translation, file, order, seconds)
    said = (*order.notes, *notes, *translation.notes, *found)
    return replace(translation.graph, notes=tuple(f"{file.path.name}: {note}" for note in said))


def _dtype(file: OnnxFile) -> torch.dtype:
    code = file.input.type.tensor_type.elem_type
    if code in _FLOATS:
        return _FLOATS[code]
    names = {number: name for name, number in onnx_package().TensorProto.DataType.items()}
    more = ", or attack it as it is without gradients: run=onnxruntime" if names.get(code) == "FLOAT16" else ""
    raise ModelError(
        f"{file.path} takes inputs of type {names.get(code, code)}; float32 and float64 are read. Export it in "
        f"float32{more}."
    )


def _read(file: OnnxFile, dtype: torch.dtype, order: Arrangement, name: str, reading: str) -> Translation:
    """Return the graph of the first way to read an output that works."""
    for ending in endings(file, name, reading):
        translation = _translated(file, dtype, order, ending, reading)
        if translation is not None:
            return translation
    raise ModelError(f"{file.path} has no output {name} that can be read.")


def _translated(
    file: OnnxFile, dtype: torch.dtype, order: Arrangement, ending: Ending, reading: str
) -> Translation | None:
    """Return the graph of a file that ends so, or None if what was taken off did not work on whole rows."""
    builder = Builder(order.given, dtype, {}, file.path.name)
    builder.way_out = WAY_OUT
    builder.operation = "the input"
    values: dict[str, Any] = {**file.arrays, file.input.name: order.applied(builder)}
    measured: set[str] = set()
    fixed: list[str] = []
    for done, node in enumerate(ending.nodes):
        report(f"reading {file.path.name}", done, len(ending.nodes))
        builder.operation, builder.origin = node.op_type, f"{file.path.name}, node {node.name or node.output[0]}"
        results = _results(builder, file, node, values)
        if builder.alone:
            results = [operations.without_batch(builder, r) if isinstance(r, Value) else r for r in results]
        values.update(zip(node.output, results, strict=False))
        if node.op_type in ("Shape", "Size") or measured.intersection(node.input):
            measured.update(node.output)
        elif fixes_one_example(node, values):
            fixed.append(f"{node.op_type} {node.name or node.output[0]}")
    report(f"reading {file.path.name}", len(ending.nodes), len(ending.nodes))
    scores = values.get(ending.scores)
    if isinstance(scores, Value) and not ending.fits(file.opset, scores):
        return None
    builder.operation, builder.origin = "the output", ""
    row, reshaped = _row(builder, file, values[ending.output], reading)
    rows, notes = rows_of(file, ending, row.shape[1], reading)
    graph = builder.finish(rows.applied(builder, row))
    return Translation(graph, ending, rows, values, tuple(fixed), (*reshaped, *notes))


def _results(builder: Builder, file: OnnxFile, node: Any, values: Mapping[str, Any]) -> list[Any]:
    """Return the results of one node."""
    if node.domain not in _DOMAINS:
        builder.refuse(f"it is an operator of {node.domain}, not of the standard")
    if node.op_type in _RANDOM:
        builder.refuse("it draws random numbers")
    try:
        return _computed(builder, file, node, values)
    except EpsballError:
        raise
    except Exception as error:
        builder.refuse(f"its inputs and attributes do not fit ({type(error).__name__}: {error})")


def _computed(builder: Builder, file: OnnxFile, node: Any, values: Mapping[str, Any]) -> list[Any]:
    onnx = onnx_package()
    attributes = {entry.name: _attribute(onnx, entry) for entry in node.attribute}
    if node.op_type == "Constant":
        return [_constant(attributes)]
    missing = [name for name in node.input if name and name not in values]
    if missing:
        builder.refuse(f"its input {missing[0]} is not a dense tensor")
    given = [values[name] if name else None for name in node.input]
    folds = _folds(node, given)
    if not folds and node.op_type not in RULES:
        builder.refuse("the operator has no rule")
    call = Call(builder, file.opset, given, list(node.input), len(node.output), attributes)
    results = _folded(onnx, file, node, given) if folds else RULES[node.op_type](call)
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
    """Return the results of a node on constants, as the onnx package defines its operator.

    Its evaluator does not know every operator as older operator sets have it; those are left to onnxruntime.
    """
    inputs = {name: value for name, value in zip(node.input, given, strict=True) if name}
    try:
        evaluator = import_reference()(node, opsets={"": file.opset})
        return [np.asarray(result) for result in evaluator.run(None, inputs)]
    except TypeError:
        return run_node(file, node, inputs)


def import_reference() -> Any:
    """Return onnx's own evaluator, whose import is heavy."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator


def _row(builder: Builder, file: OnnxFile, output: Any, reading: str) -> tuple[Value, tuple[str, ...]]:
    """Return the output as one row per example, and a note if it is written otherwise.

    In a file for one example, a vector is one row; axes of length 1 beside that of the classes are left out. Of values,
    all axes are.
    """
    if not isinstance(output, Value):
        raise ModelError(f"{file.path} returns the same logits for every input.")
    notes: tuple[str, ...] = ()
    if builder.alone:
        width = math.prod(output.shape)
        return Value(operations.shaped(builder, output.node, (width,)), (1, width), 0), notes
    width = math.prod(output.example) if reading == "values" else max(output.example, default=1)
    if output.rank == 1:
        output = operations.reshape(builder, output, (1, *output.shape))
    elif output.rank > 2 and output.axis == 0 and output.dropped and np.prod(output.example) == width:
        notes = (f"its output (n, {', '.join(map(str, output.example))}) is read as (n, {width})",)
        output = operations.reshape(builder, output, (1, width), 0)
    if output.rank != 2 or output.axis != 0 or not output.dropped or output.shape[1] == 0:
        builder.finish(output)
        raise ModelError(f"{file.path} returns no logits: its output has shape {output.shape}.")
    return output, notes
