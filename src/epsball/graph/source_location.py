"""The place of an operation or a failure in the source, for messages."""

import re
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from epsball.errors import first_line

_LINE = re.compile(r'File "([^"]+)", line (\d+)')
_PACKAGE = str(Path(__file__).parent)
_TORCH = str(Path(str(torch.__file__)).parent)


def operation(node: fx.Node) -> str:
    """Return the name of a node's operator, ``aten.relu``."""
    target: Any = node.target
    packet = getattr(target, "overloadpacket", None)
    return str(packet or getattr(target, "__name__", target))


def origin(node: fx.Node) -> str:
    """Return the module path and the source line of a node: ``blocks.1.act (GELU), net.py:12``."""
    stack = [entry for entry in (node.meta.get("nn_module_stack") or {}).values() if "." in str(entry[1])]
    parts = []
    if stack:
        path, kind = stack[-1][0], str(stack[-1][1]).rpartition(".")[2]
        parts.append(f"{path} ({kind})" if path else kind)
    lines = _LINE.findall(node.meta.get("stack_trace") or "")
    written = [found for found in lines if not found[0].startswith(("<", "torch/", _TORCH, _PACKAGE))]
    if written:
        file, number = written[-1]
        parts.append(f"{Path(file).name}:{number}")
    return ", ".join(parts)


def explain_export(module: nn.Module, error: Exception) -> str:
    """Return why a module cannot be exported: the submodule and line at which it failed, and what to do."""
    paths = {id(part): path for path, part in module.named_modules()}
    path, owner = "", module
    written = [found for found in _LINE.findall(str(error)) if not found[0].startswith(_TORCH)]
    for frame, number in traceback.walk_tb(error.__traceback__):
        part, file = frame.f_locals.get("self"), frame.f_code.co_filename
        if isinstance(part, nn.Module) and id(part) in paths:
            path, owner = paths[id(part)], part
        if isinstance(part, nn.Module) and not file.startswith((_TORCH, _PACKAGE)):
            written.append((file, str(number)))
    line = f", {Path(written[-1][0]).name}:{written[-1][1]}" if written else ""
    where = f"{path} ({type(owner).__name__}){line}" if path else f"{type(owner).__name__}{line}"
    return (
        f"torch.export cannot take {where}: {type(error).__name__}: {first_line(error, 300)}. A certified model is a "
        "fixed sequence of tensor operations: no branch or loop on values, no .item(), no NumPy. Rewrite that part, "
        "or use attacks only."
    )
