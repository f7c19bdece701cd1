"""What a surrogate sees of an operation, and the scales and grafts that surrogates share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Shadow:
    """A differentiable stand-in of a tensor that carries no gradient.

    Parameters
    ----------
    value
        Of the tensor's shape and values, in a floating dtype.
    members
        For indices along an axis: how much each position of that axis is among them, of the shape of the
        tensor that was ranked; its values are 0 and 1.
    ranked, dim
        The tensor that was ranked, and the axis.
    """

    value: Tensor
    members: Tensor | None = None
    ranked: Tensor | None = None
    dim: int = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One operation on tensors that depend on the input.

    Parameters
    ----------
    run
        Runs the operation on other arguments.
    args, kwargs
        Its arguments, tensors replaced by their differentiable stand-ins where they have one.
    given
        Its positional arguments as they are.
    exact
        What it returned.
    shadow
        Returns the shadow of a tensor, or None.
    """

    run: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: tuple[Any, ...]
    exact: Any
    shadow: Callable[[object], Shadow | None]
    dtype: torch.dtype = field(default=torch.float32)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument given by position or by name."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)

    def floating(self, value: Any) -> Any:
        """Return a tensor in a floating dtype; anything else as it is."""
        if isinstance(value, Tensor) and not value.is_floating_point():
            return value.to(self.dtype)
        return value


AS_IT_IS = object()
"""What a surrogate returns where the operation needs none."""

Surrogate = Callable[[Call], Any]
"""Returns a differentiable stand-in of the call's result: a tensor, a `Shadow`, a tuple of them,
None for none, or `AS_IT_IS`."""


def mean_size(values: Tensor) -> Tensor:
    """Return the mean absolute value per row, of the same number of axes: the scale of a smooth surrogate."""
    size = values.detach().abs()
    if values.ndim > 1:
        size = size.flatten(1).mean(1).view(-1, *[1] * (values.ndim - 1))
    return size.nan_to_num(nan=1.0, posinf=1.0).clamp(min=1e-6)


def step(values: Tensor) -> Tensor:
    """Return a smooth stand-in of values > 0, as wide as the values of each row are large."""
    return torch.sigmoid(values / mean_size(values))


def moved(base: Tensor, change: Tensor) -> Tensor:
    """Return `base` with the gradient of `change` added to its own."""
    return base + (change - change.detach()).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
