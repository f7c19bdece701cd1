"""What runs in a network, seen in two short passes of four and of three rows.

They show which modules run, how often and what they return, and along which axis the rows lie:
the one whose length follows the number of rows. That covers sequence-first transformers, windows
or tokens folded into the rows, dictionaries and tuples, without assumptions about the architecture.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor, nn

from epsball.errors import ModelError
from epsball.similarity.layers import Layer, Output
from epsball.similarity.network import Network, hooked

PROBES = (4, 3)
"""Rows of the two passes."""


@dataclass(frozen=True)
class _Seen:
    """An output seen in a pass; for `profiles` see `_profiles`, for the flags see `Layer`."""

    output: Output
    shape: tuple[int, ...]
    profiles: dict[int, Tensor]
    passes_on: bool
    repeats: bool


def tensors(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Yield (path, tensor) for the floating and complex tensors inside tuples, mappings and dataclasses."""
    if isinstance(value, Tensor):
        if value.layout == torch.strided and not value.is_nested and (value.is_floating_point() or value.is_complex()):
            yield path, value.detach()
        return
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(i), item) for i, item in enumerate(value)]
    elif is_dataclass(value):
        items = [(field.name, getattr(value, field.name)) for field in fields(value)]
    else:
        return
    for key, item in items:
        yield from tensors(item, (*path, key))


def watchable(root: nn.Module) -> dict[nn.Module, str]:
    """Return the modules that may give layers, with their names: all except parametrisations of weights."""
    return {module: name for name, module in root.named_modules() if "parametrizations" not in name.split(".")}


def find_layers(network: Network, x: Shaped[Tensor, "n *shape"]) -> tuple[list[Layer], list[str]]:
    """Return the layers in execution order, and a remark on each output that cannot be compared.

    Raises
    ------
    ModelError
        If no module of the network is seen running.
    """
    many, few = (_pass(network, x[:rows]) for rows in PROBES)
    again = {seen.output: seen for seen in few}
    calls = Counter((seen.output.module, seen.output.path) for seen in many)
    parts = Counter((seen.output.module, seen.output.call) for seen in many)
    layers, notes = [], []
    for seen in many:
        output = seen.output
        name = (output.module or "output") + (f":{output.call}" if calls[output.module, output.path] > 1 else "")
        name += "/" + ".".join(output.path) if parts[output.module, output.call] > 1 else ""
        rows = _rows(seen, again.get(output))
        if rows is None:
            notes.append(f"'{name}' has no feature vector per row: shape {seen.shape} for {PROBES[0]} rows")
            continue
        axis, fold, interleaved = rows
        layers.append(
            Layer(
                name=name, output=output, axis=axis, fold=fold, interleaved=interleaved,
                passes_on=seen.passes_on, repeats=seen.repeats,
            )
        )  # fmt: skip
    if all(not layer.output.module for layer in layers) and any(True for _ in network.root.children()):
        raise ModelError(
            "no module inside the network was seen running: exported graphs hide their modules, and functional "
            "code calls none. Pass the Python module it was made from, or wrap the parts in modules."
        )
    return layers, notes


def _rows(many: _Seen, few: _Seen | None) -> tuple[int, int, bool] | None:
    """Return (axis, fold, interleaved) of the rows, or None if no axis follows their number."""
    if few is None or len(few.shape) != len(many.shape) or 0 in many.shape:
        return None
    moved = [axis for axis in range(len(many.shape)) if many.shape[axis] != few.shape[axis]]
    if len(moved) != 1:
        return None
    axis = moved[0]
    fold, rest = divmod(many.shape[axis], PROBES[0])
    if rest or few.shape[axis] != fold * PROBES[1] or fold == 0:
        return None
    if fold == 1:
        return axis, 1, False
    if axis not in many.profiles or axis not in few.profiles:
        return None
    first, second = many.profiles[axis], few.profiles[axis]
    if _close(first.view(PROBES[0], fold)[: PROBES[1]], second.view(PROBES[1], fold)):
        return axis, fold, False
    if _close(first.view(fold, PROBES[0])[:, : PROBES[1]], second.view(fold, PROBES[1])):
        return axis, fold, True
    return None


def _close(first: Float64[Tensor, "r c"], second: Float64[Tensor, "r c"]) -> bool:
    return bool((first - second).abs().max() <= 1e-3 * first.abs().max())


def _pass(network: Network, x: Shaped[Tensor, "n *shape"]) -> list[_Seen]:
    """Run the network once and return what its modules returned, in the order in which they finished.

    A tensor is identified by its memory and its version, which in-place operations change. The latest
    output is kept alive, so that no other tensor can take over its memory.
    """
    names = watchable(network.root)
    entered: dict[nn.Module, list[set[object]]] = defaultdict(list)
    calls: Counter[nn.Module] = Counter()
    latest: dict[object, Tensor] = {}
    found: list[_Seen] = []

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        entered[module].append({_identity(value) for _, value in tensors([args, kwargs])})

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        calls[module] += 1
        given = entered[module].pop()
        known = given | latest.keys()
        latest.clear()
        for path, value in tensors(result):
            identity = _identity(value)
            latest[identity] = value
            found.append(
                _Seen(
                    Output(names[module], calls[module], path), tuple(value.shape), _profiles(value, len(x)),
                    identity in given, identity in known,
                )
            )  # fmt: skip

    with hooked(dict.fromkeys(names, enter), dict.fromkeys(names, leave)):
        network(x)
    return found


def _identity(value: Tensor) -> object:
    version = object() if value.is_inference() else value._version
    return value.data_ptr(), value.numel(), version


def _profiles(value: Shaped[Tensor, "*shape"], rows: int) -> dict[int, Float64[Tensor, " length"]]:
    """Return one number per entry along each of the first two axes that may hold several entries per row.

    It is a projection on cosines; a sum would not do, as layer normalisation makes it equal for all rows.
    """
    value = torch.view_as_real(value) if value.is_complex() else value
    profiles = {}
    for axis, size in enumerate(value.shape[:2]):
        if size > rows and size % rows == 0:
            entries = value.movedim(axis, 0).reshape(size, -1).double()
            profiles[axis] = entries @ torch.arange(entries.shape[1], device=value.device).double().cos()
    return profiles
