"""An exported graph, given as JSON and tensors, rebuilt as a `torch.fx` graph over aten operators.

Only operators of PyTorch's own library ``aten`` and arithmetic on sizes are taken. They are
looked up in tables, never by evaluating a name, and no name from the file reaches the
generated code but those of tensors, which the archive's reader has checked.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from keyword import iskeyword
from types import UnionType
from typing import Any

import torch
from torch import Tensor, fx, nn

from epsball.errors import InputError, ModelError, UnsupportedOperation
from epsball.models.exported_archive import DTYPES

_OPERATOR = re.compile(r"torch\.ops\.aten\.(?!__)(\w+)\.(?!__)(\w+)")
_ON_SIZES: dict[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in (
            "add",
            "sub",
            "mul",
            "floordiv",
            "truediv",
            "mod",
            "neg",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
        )
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc", "sqrt")},
    **{f"torch.sym_{name}": getattr(torch, f"sym_{name}") for name in ("max", "min", "not", "int", "float")},
}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_STRIDED = 7
_KEYWORD = 2

Values = dict[str, Any]


def build_graph(module: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[fx.GraphModule, str, str]:
    """Return the graph as a module, and the names of its input and its output.

    Parameters
    ----------
    module
        ``graph_module`` of the program's JSON.
    tensors
        Parameters, buffers and constants by name.

    Raises
    ------
    ModelError
        If the graph does not map one tensor to one tensor, or changes its own buffers.
    UnsupportedOperation
        If it calls anything but operators of aten.
    KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError
        If the JSON is not a graph.
    """
    root, graph = nn.Module(), fx.Graph()
    values: Values = {}
    inputs = []
    for spec in module["signature"]["input_specs"]:
        ((kind, content),) = spec.items()
        if kind == "user_input":
            inputs.append(content["arg"]["as_tensor"]["name"])
            values[inputs[-1]] = graph.placeholder("x")
        else:
            name = content[f"{kind}_name"]
            _attach(root, name, tensors[name])
            values[content["arg"]["name"]] = graph.get_attr(name)
    outputs = [_output_name(spec) for spec in module["signature"]["output_specs"]]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"the program has {len(inputs)} inputs and {len(outputs)} outputs. "
            "A classifier maps one tensor to one tensor of logits: export such a module."
        )
    for node in module["graph"]["nodes"]:
        _add_node(graph, node, values)
    graph.output(values[outputs[0]])
    return fx.GraphModule(root, graph), inputs[0], outputs[0]


def _attach(root: nn.Module, name: str, tensor: Tensor) -> None:
    *path, last = name.split(".")
    owner = root
    for part in path:
        if part not in dict(owner.named_children()):
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(last, tensor)
    else:
        owner.register_buffer(last, tensor)


def _output_name(spec: Mapping[str, Any]) -> str:
    ((kind, content),) = spec.items()
    if kind != "user_output":
        raise ModelError(
            f"the program also returns a {kind.replace('_', ' ')}: it was exported in training mode. "
            "Call model.eval() before torch.export.export."
        )
    return content["arg"]["as_tensor"]["name"]


def _add_node(graph: fx.Graph, node: Mapping[str, Any], values: Values) -> None:
    target = _target(node["target"])
    schema = target._schema if isinstance(target, torch._ops.OpOverload) else None
    keywords = {argument.name for argument in schema.arguments} if schema else set()
    args, kwargs = [], {}
    for item in node["inputs"]:
        value = _argument(item["arg"], values)
        if item.get("kind") != _KEYWORD:
            args.append(value)
        elif item["name"] in keywords and not iskeyword(item["name"]):
            kwargs[item["name"]] = value
        else:
            raise _not_run(f"passes {item['name']!r} to {node['target']}")
    result = graph.call_function(target, tuple(args), kwargs)
    if schema is None or len(schema.returns) == 1:
        _bind(graph, node["outputs"][0], result, values)
    else:
        for i, output in enumerate(node["outputs"]):
            _bind(graph, output, graph.call_function(operator.getitem, (result, i)), values)


def _target(name: str) -> Callable[..., Any]:
    """Return the operator of a name.

    ``aten.from_file`` is the one operator of aten that reaches outside the program.
    """
    if name in _ON_SIZES:
        return _ON_SIZES[name]
    match = _OPERATOR.fullmatch(name)
    packet = getattr(torch.ops.aten, match[1], None) if match and match[1] != "from_file" else None
    target = getattr(packet, match[2], None) if match else None
    if not isinstance(target, torch._ops.OpOverload):
        raise _not_run(f"calls {name!r}, which is not an operator of PyTorch's aten library")
    return target


def _argument(argument: Mapping[str, Any], values: Values) -> Any:
    """Return an argument: earlier results by their names, everything else as it is."""
    ((kind, value),) = argument.items()
    read = _READERS.get(kind)
    if read is None:
        raise _not_run(f"passes an argument of kind {kind!r}")
    return read(value, values)


def _many(read: Callable[[Any, Values], Any]) -> Callable[[Any, Values], list[Any]]:
    return lambda items, values: [read(item, values) for item in items]


def _of(kind: type | UnionType) -> Callable[[Any, Values], Any]:
    def read(value: Any, _: Values) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is not a {kind}")
        return value

    return read


def _float(value: Any, _: Values) -> float:
    return float(value)  # infinities are stored as texts


def _tensor(value: Mapping[str, Any], values: Values) -> fx.Node:
    return values[value["name"]]


def _size(value: Mapping[str, Any], values: Values) -> Any:
    ((kind, content),) = value.items()
    return values[content] if kind == "as_name" else _of(int | float)(content, values)


def _layout(value: int, _: Values) -> torch.layout:
    if value != _STRIDED:
        raise UnsupportedOperation("the program makes sparse tensors. Give the module itself as FILE.py:function.")
    return torch.strided


def _device(value: Mapping[str, Any], _: Values) -> torch.device:
    if value["type"] != "cpu":
        raise InputError(f"the program was exported on '{value['type']}'. Export it on the CPU: model.cpu().")
    return torch.device("cpu")


_READERS: dict[str, Callable[[Any, Values], Any]] = {
    "as_none": lambda _, __: None,
    "as_int": _of(int),
    "as_bool": _of(bool),
    "as_string": _of(str),
    "as_ints": _many(_of(int)),
    "as_bools": _many(_of(bool)),
    "as_strings": _many(_of(str)),
    "as_int_lists": _many(_many(_of(int))),
    "as_float": _float,
    "as_floats": _many(_float),
    "as_tensor": _tensor,
    "as_tensors": _many(_tensor),
    "as_optional_tensor": _argument,
    "as_optional_tensors": _many(_argument),
    **dict.fromkeys(("as_sym_int", "as_sym_float", "as_sym_bool"), _size),
    **dict.fromkeys(("as_sym_ints", "as_sym_floats", "as_sym_bools"), _many(_size)),
    "as_scalar_type": lambda value, _: DTYPES[value],
    "as_layout": _layout,
    "as_memory_format": lambda value, _: _MEMORY_FORMATS[value],
    "as_device": _device,
}


def _bind(graph: fx.Graph, output: Mapping[str, Any], result: fx.Node, values: Values) -> None:
    ((kind, content),) = output.items()
    if kind == "as_tensors":
        for i, item in enumerate(content):
            values[item["name"]] = graph.call_function(operator.getitem, (result, i))
    elif kind == "as_tensor":
        values[content["name"]] = result
    elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        values[content["as_name"]] = result
    elif kind != "as_none":
        raise _not_run(f"has a result of kind {kind!r}")


def _not_run(what: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        f"the program {what}; that is not run from a .pt2 file. Give the module itself as FILE.py:function."
    )
