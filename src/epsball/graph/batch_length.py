"""Whether an exported program is the module at every length of the batch that is deployed.

torch.export follows the code for one length and records what it asked of the length on its way: branches, slices and
loops that another length would have taken otherwise.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import SymInt, fx
from torch.export import ExportedProgram
from torch.fx.experimental import _config

from epsball.errors import ModelError

LENGTHS = range(1, 257)
"""Lengths of the batch for which a captured module must be one function of each row."""

aten: Any = torch.ops.aten

_VIEWS = {
    *(aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints),
    *(aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten.unflatten.int),
    *(aten.contiguous.default, aten.clone.default, aten.alias.default, aten.expand.default),
}
"""Operators that change no entry and no order; torch takes others of them for a batch of one row."""


def asking_about_one_row() -> AbstractContextManager[Any]:
    """Return a block in which torch.export takes a length of 1 for no case of its own, and records what asks for it."""
    settings: Any = _config
    return settings.patch(backed_size_oblivious=True) if hasattr(settings, "backed_size_oblivious") else nullcontext()


def batch_length(program: ExportedProgram) -> SymInt | None:
    """Return the length of the batch as the program has it, or None if the program fixes it."""
    (name,) = program.graph_signature.user_inputs
    node = next(node for node in program.graph.nodes if node.name == name)
    length = node.meta["val"].shape[0]
    return length if isinstance(length, SymInt) and length.node.expr.is_Symbol else None


def check_lengths(program: ExportedProgram, length: SymInt, name: str, alone: Callable[[], ExportedProgram]) -> None:
    """Raise unless a program with a free batch holds for all `LENGTHS`.

    Parameters
    ----------
    program, length
        The program, and its batch.
    name
        What was exported, for messages.
    alone
        Returns the program of a batch of one row; called where torch itself may ask whether there is only one.

    Raises
    ------
    ModelError
        If the module does something else at some length.
    """
    other = [n for n in LENGTHS if not _holds(program, length, n)]
    if other == [1] and _is_same(program, alone):
        return
    if other:
        raise ModelError(
            f"{name} does something else for batches of {_listed(other)} rows than for batches of "
            f"{_first(n for n in LENGTHS if n not in other)}: its code asks for the length of the batch, so that the "
            "logits of one example would depend on the batch it is in. Remove that branch, slice or loop."
        )


def _holds(program: ExportedProgram, length: SymInt, n: int) -> bool:
    """Return whether a batch of n rows takes the path that was followed."""
    symbol = length.node.expr
    allowed = program.range_constraints.get(symbol)
    inside = allowed is None or (n >= allowed.lower and n <= allowed.upper)
    return bool(inside) and all(guard.expr.xreplace({symbol: _integer(n)}) == True for guard in _guards(length))  # noqa: E712


def _guards(length: SymInt) -> list[Any]:
    return length.node.shape_env.guards


def _integer(n: int) -> Any:
    """Return a number as sympy's, which torch.export's conditions are made of."""
    from sympy import Integer

    return Integer(n)


def _is_same(program: ExportedProgram, other: Callable[[], ExportedProgram]) -> bool:
    try:
        return same_steps(program, other())
    except Exception:
        return False


def same_steps(first: ExportedProgram, second: ExportedProgram) -> bool:
    """Return whether two programs run the same operators on the same numbers, views apart."""
    steps = [list(_steps(program)) for program in (first, second)]
    return len(steps[0]) == len(steps[1]) and all(_alike(a, b) for a, b in zip(*steps, strict=True))


def _steps(program: ExportedProgram) -> Iterator[tuple[Any, ...]]:
    """Yield the calls of a program that change entries or their order."""
    for node in program.graph.nodes:
        counts = isinstance(node.meta.get("val"), torch.SymInt | torch.SymBool)
        whole = node.target is aten.slice.Tensor and node.args[2:] == (0, sys.maxsize)
        if node.op != "call_function" or node.target in _VIEWS or counts or whole or "_assert" in str(node.target):
            continue
        yield (node.target, node.args, dict(node.kwargs))


def _alike(a: Any, b: Any) -> bool:
    """Return whether two arguments are alike; results of nodes are, and lengths of the batch."""
    if isinstance(a, fx.Node) or isinstance(b, fx.Node):
        return True
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    return a == b


def _listed(lengths: list[int]) -> str:
    """Return lengths as ranges."""
    parts, start = [], lengths[0]
    for n, following in zip(lengths, [*lengths[1:], None], strict=True):
        if following != n + 1:
            parts.append(str(n) if start == n else f"{start} to {n}")
            start = following or n
    return ", ".join(parts[:3]) + (" ..." if len(parts) > 3 else "")


def _first(lengths: Iterator[int]) -> int:
    return next(lengths, 0)
