"""A ``.pt2`` file as a module that checks what it is given."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, fx, nn

from epsball.errors import InputError, ModelError, UnsupportedOperation
from epsball.models.exported_archive import read_exported_archive
from epsball.models.exported_graph import build_graph

_EXPORT = "torch.export.export(model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim('batch')},))"
_SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)|(\w+)")


class ExportedModule(nn.Module):
    """An exported program and the inputs it was exported for.

    Its mode is the one it was exported in; setting another has no effect.

    Attributes
    ----------
    program
        The graph over aten operators.
    shape
        Shape of one input; None where any length is taken.
    classes
        Number of logits.
    most
        Largest batch, or None.
    """

    def __init__(self, program: fx.GraphModule, shape: tuple[int | None, ...], classes: int, most: int | None) -> None:
        super().__init__()
        self.program, self.shape, self.classes, self.most = program, shape, classes, most

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the logits.

        Raises
        ------
        InputError
            If the program was exported for inputs of another shape, or for smaller batches.
        """
        fits = len(self.shape) == x.ndim - 1 and all(
            known in (None, length) for known, length in zip(self.shape, x.shape[1:], strict=True)
        )
        if not fits:
            expected = "x".join(str(length or "any") for length in self.shape)
            raise InputError(f"x is {tuple(x.shape)}; the program was exported for inputs of shape {expected}.")
        if self.most is not None and x.shape[0] > self.most:
            raise InputError(f"x has {x.shape[0]} rows; the program was exported for batches of at most {self.most}.")
        return self.program(x)


def exported_module(path: Path) -> ExportedModule:
    """Return the module of a ``.pt2`` file.

    Raises
    ------
    InputError
        If the file cannot be read (see `read_exported_archive`).
    ModelError
        If the program is not a classifier of one input, or was exported for one batch size.
    UnsupportedOperation
        If it calls anything but operators of aten.
    """
    archive = read_exported_archive(path)
    try:
        module = archive.program["graph_module"]
        graph, x, logits = build_graph(module, archive.tensors)
        n, *shape = _sizes(module, x)
        classes = _classes(_sizes(module, logits))
        most = _largest_batch(archive.program, n)
    except (InputError, ModelError, UnsupportedOperation) as error:
        raise type(error)(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} does not hold a well-formed graph ({type(error).__name__}: {error}).") from error
    return ExportedModule(graph, tuple(map(_fixed, shape)), classes, most)


def _sizes(module: Mapping[str, Any], name: str) -> list[int | str]:
    """Return the lengths of a tensor's axes; a length that may vary is an expression."""
    sizes = module["graph"]["tensor_values"][name]["sizes"]
    return [size["as_int"] if "as_int" in size else size["as_expr"]["expr_str"] for size in sizes]


def _fixed(length: int | str) -> int | None:
    return length if isinstance(length, int) else None


def _classes(sizes: list[int | str]) -> int:
    if len(sizes) != 2 or not isinstance(sizes[1], int):
        raise ModelError(f"the program returns {len(sizes)} axes; a classifier returns logits (n, classes).")
    return sizes[1]


def _largest_batch(program: Mapping[str, Any], n: int | str) -> int | None:
    """Return the largest number of rows, or None if there is no limit."""
    symbol = None if isinstance(n, int) else _SYMBOL.fullmatch(n)
    if symbol is None:
        raise ModelError(f"the program was exported for batches of exactly {n}. Export it for any: {_EXPORT}.")
    return program["range_constraints"].get(symbol[1] or symbol[2], {}).get("max_val")
