"""Forms of operations: in place or not, their arguments, and running them again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_IN_PLACE = frozenset(
    f"__i{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or", "xor", "lshift", "rshift", "pow")
)


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


def in_place(name: str, kwargs: dict[str, Any]) -> bool:
    """Return whether an operation writes into its first argument."""
    if kwargs.get("inplace") is True or name == "__setitem__" or name in _IN_PLACE:
        return True
    return name.endswith("_") and not name.endswith("__")


def fills_by_mask(target: Tensor, mask: Any, value: Any) -> bool:
    """Return whether target[mask] = value puts one number where a mask holds."""
    masked = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == target.shape
    return masked and (not isinstance(value, Tensor) or value.ndim == 0)


def without_underscore(name: str) -> str:
    """Return the name of an operation's form that returns something new."""
    if name in _IN_PLACE:
        return f"__{name[3:]}"
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def out_of_place(func: Any, base: str) -> Callable[..., Any]:
    """Return an operation in place as one that returns something new."""
    method = getattr(Tensor, base, None)
    if method is not None and base != "where":
        return method

    def on_a_copy(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        copy = x.clone()
        func(copy, *args, **kwargs)
        return copy

    return on_a_copy


@contextmanager
def replayed(state: Tensor | None) -> Iterator[None]:
    """Draw the same random numbers once more inside the block; go on after it as if that had not happened."""
    if state is None:
        yield
        return
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(after)


def spoken(name: str) -> str:
    """Return an operation's name as one writes it."""
    return {"data.__get__": ".data", "__array__": "numpy"}.get(name, name.strip("_"))
