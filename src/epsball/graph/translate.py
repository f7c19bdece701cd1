"""`translate`: an exported program as nodes, operator by operator, by the table of rules."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node
from torch.fx.node import map_arg

from epsball.errors import ModelError
from epsball.graph import operations, source_location
from epsball.graph._graph import Graph
from epsball.graph.aten import RULES, Call
from epsball.graph.aten.choosing import LOGIC
from epsball.graph.aten.rule import BatchLength, aten
from epsball.graph.builder import Builder
from epsball.graph.value import Shape, Value

MOVES = {
    *(aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints),
    *(aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten.unflatten.int),
    *(aten.contiguous.default, aten.clone.default, aten.alias.default, aten.detach.default, aten.detach_.default),
    *(aten.lift_fresh_copy.default, aten.lift_fresh.default, aten._to_copy.default, aten.to.dtype),
    *(aten.to.dtype_layout, aten.to.device, aten.permute.default, aten.transpose.int, aten.t.default),
    *(aten.expand.default, aten.slice.Tensor, aten.select.int, aten.index_select.default, aten.index.Tensor),
    *(aten.cat.default, aten.stack.default, aten.flip.default, aten.roll.default, aten.where.self),
    *(aten.full.default, aten.zeros.default, aten.ones.default, aten.eye.default, aten.scalar_tensor.default),
    *(aten.full_like.default, aten.zeros_like.default, aten.ones_like.default, aten.tril.default, aten.triu.default),
    *(aten.masked_fill.Scalar, aten.masked_fill.Tensor, aten.arange.default, aten.arange.start),
    *(aten.arange.start_step, aten.nan_to_num.default),
}
"""Operators without arithmetic on floats: on constants of the source's code they are computed at capture."""

_FILLED = {aten.zeros.default: 0.0, aten.ones.default: 1.0, aten.zeros_like.default: 0.0, aten.ones_like.default: 1.0}


class MaximumIndices:
    """Stands for the second result of a maximum, the indices: no node holds them, and no operator may take them."""


def translate(program: ExportedProgram, builder: Builder, names: Mapping[str, str]) -> Graph:
    """Return the graph of a program.

    Parameters
    ----------
    program
        Exported with a free batch.
    builder
        Takes the nodes.
    names
        For each parameter and buffer, the name it has in the graph.
    """
    values: dict[Node, Any] = {}
    outputs: Any = ()
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node] = _given(builder, program, specs[node.name], names)
        elif node.op == "call_function":
            builder.operation, builder.origin = source_location.operation(node), source_location.origin(node)
            values[node] = _called(builder, node, values)
        elif node.op == "output":
            outputs = _logits(program, node.args[0])
    if len(outputs) != 1 or not isinstance(values.get(outputs[0]), Value):
        raise ModelError(
            f"{builder.source} returns {len(outputs)} things; a classifier returns one tensor of logits (n, classes)."
        )
    return builder.finish(values[outputs[0]])


def _logits(program: ExportedProgram, outputs: Any) -> list[Any]:
    """Return what the program returns, without what it writes to its input; refuse one that writes to its state."""
    specs = program.graph_signature.output_specs
    for spec in specs:
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION):
            raise ModelError(
                f"the model writes to its own '{spec.target}' in evaluation, so that its logits may change from "
                "call to call. Write to it only where self.training."
            )
    return [output for output, spec in zip(outputs, specs, strict=True) if spec.kind is OutputKind.USER_OUTPUT]


def _given(builder: Builder, program: ExportedProgram, spec: Any, names: Mapping[str, str]) -> Any:
    """Return what a placeholder stands for: the input, a parameter, or a tensor written in the source."""
    if spec.kind is InputKind.USER_INPUT:
        return builder.input
    if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
        tensor = builder.parameters[names[spec.target]]
        return builder.parameter(names[spec.target]) if tensor.is_floating_point() else tensor
    return program.constants[spec.target]


def _called(builder: Builder, node: Any, values: Mapping[Node, Any]) -> Any:
    """Return the result of one call."""
    result = node.meta.get("val")
    if isinstance(result, torch.SymInt | torch.SymFloat | torch.SymBool):
        return BatchLength()
    if node.target is operator.getitem:
        results, number = (values[a] if isinstance(a, Node) else a for a in node.args)
        return results[number] if number < len(results) else MaximumIndices()
    if str(node.target).startswith("aten._assert"):
        return None
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        builder.refuse("a region of its own (autocast, a branch or a loop of tensors) has no rule")
    arguments, options = map_arg((node.args, node.kwargs), lambda given: values[given])
    used = [values[given] for given in node.all_input_nodes]
    if not any(isinstance(value, Value | BatchLength | MaximumIndices) for value in used) and _folds(node):
        return node.target(*arguments, **options)
    _check_dtype(builder, node, used)
    call = Call(builder, *_batch_shape(builder, _results(node)[0].shape))
    if node.target in (*_FILLED, aten.full.default, aten.full_like.default):
        return _filled(call, node, arguments)
    if node.target not in RULES:
        builder.refuse("the operation has no rule")
    if any(isinstance(value, MaximumIndices) for value in used):
        builder.refuse("it computes with the indices of maxima")
    if any(isinstance(value, BatchLength) for value in used) and node.target not in _READ_OFF_RESULT:
        builder.refuse_batch("computes with the number of rows")
    try:
        result = RULES[node.target](call, *arguments, **options)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        builder.refuse(f"these arguments have no rule ({type(error).__name__}: {error})")
    _check_batch(builder, node, result)
    return result


def _check_batch(builder: Builder, node: Any, result: Any) -> None:
    """Refuse a result whose batch is not where torch.export has it: of x[-1:] it has none."""
    for value, seen in zip(result if isinstance(result, list) else [result], _results(node), strict=False):
        if isinstance(value, Value) and isinstance(seen, Tensor):
            shape, axis = _batch_shape(builder, seen.shape)
            if (value.shape, value.axis) != (shape, axis):
                builder.refuse_batch("takes some rows of the batch, or joins them")


_READ_OFF_RESULT = {
    *(aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.unflatten.int),
    *(aten.expand.default, aten.broadcast_to.default, aten.slice.Tensor),
}
"""Operators whose rules take lengths from the shape of their result, so that an argument may be the batch's."""


def _folds(node: Any) -> bool:
    """Return whether a call on constants does no arithmetic on floats."""
    floats = (result for result in _results(node) if isinstance(result, Tensor) and result.is_floating_point())
    return node.target in MOVES or not any(True for _ in floats)


def _results(node: Any) -> Sequence[Any]:
    """Return the results of a node as the export saw them, shapes and dtypes without values."""
    seen = node.meta["val"]
    return seen if isinstance(seen, list | tuple) else [seen]


def _check_dtype(builder: Builder, node: Any, used: list[Any]) -> None:
    """Refuse a float result in another dtype than the network's; a parameter of another dtype may be moved."""
    first = _results(node)[0]
    dtype = first.dtype if isinstance(first, Tensor) else builder.dtype
    given = [taken.meta["val"] for taken in node.all_input_nodes]
    kept = all(tensor.dtype == dtype for tensor in given if isinstance(tensor, Tensor))
    moves = node.target in MOVES and kept and (dtype.is_floating_point or dtype == torch.bool)
    if dtype == torch.bool and node.target in LOGIC:
        return
    if dtype != builder.dtype and not moves and any(isinstance(value, Value) for value in used):
        if dtype.is_floating_point:
            builder.refuse(f"it computes in {dtype}, the network is in {builder.dtype}")
        builder.refuse(f"it turns values into {dtype}, and what depends on them may jump")


def _batch_shape(builder: Builder, shape: Any) -> tuple[Shape, int | None]:
    """Return a shape with the batch taken as 1, and the axis the batch is part of."""
    axes = [i for i, length in enumerate(shape) if isinstance(length, torch.SymInt)]
    if len(axes) > 1:
        builder.refuse_batch("returns a tensor of which several axes grow with the batch")
    lengths = []
    for i, length in enumerate(shape):
        if i in axes:
            expression = length.node.expr
            factor, rest = expression.as_coeff_Mul()
            if not rest.is_Symbol or not factor.is_Integer:
                builder.refuse_batch(f"returns an axis of length {expression} for a batch of {rest}")
            length = int(factor)
        lengths.append(int(length))
    return tuple(lengths), axes[0] if axes else None


def _filled(call: Call, node: Any, arguments: Any) -> Value:
    """Return a tensor filled with one number, with the batch of the input."""
    value = _FILLED[node.target] if node.target in _FILLED else arguments[1]
    return operations.expand(call.builder, call.builder.number(float(value)), call.shape, call.axis)
