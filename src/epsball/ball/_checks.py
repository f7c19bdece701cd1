"""Checks of centres and points."""

import torch
from torch import Tensor

from epsball.ball.norm import extremes
from epsball.errors import InputError

_LARGEST = 2.0**500
"""In float64 the squares of larger numbers overflow, or sums of them do."""


def check_floats(**tensors: Tensor) -> None:
    """Raise InputError unless every tensor is float32 or float64 with a batch axis."""
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            hint = (
                " Turn 8-bit pixels into floats with epsball.pixels.from_8bit."
                if not tensor.is_floating_point()
                else ""
            )
            raise InputError(f"{name} is {tensor.dtype}; a ball works in float32 and float64.{hint}")
        if tensor.dim() == 0:
            raise InputError(f"{name} is a single number; add a batch axis, {name}[None].")


def check_pair(first: str, a: Tensor, second: str, b: Tensor) -> None:
    """Raise InputError unless a and b are floats of one shape."""
    check_floats(**{first: a, second: b})
    if a.shape != b.shape:
        raise InputError(
            f"{first} is {tuple(a.shape)} and {second} is {tuple(b.shape)}; a ball compares row by row, "
            "so the shapes must be equal."
        )


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise InputError unless all values are finite, and in float64 small enough to be squared."""
    limit = min(torch.finfo(tensor.dtype).max, _LARGEST)
    low, high = extremes(tensor)
    if low >= -limit and high <= limit:
        return
    bad = ~(tensor.abs() <= limit)
    row = int(bad.reshape(len(bad), -1).any(dim=1).nonzero()[0])
    raise InputError(
        f"{name} holds {tensor[bad][0].item():g} in row {row}; its values must be finite"
        f" (and in float64 at most {_LARGEST:.0e} in size, so that they can be squared)."
    )


def check_centre(x: Tensor, low: float, high: float) -> None:
    """Raise InputError unless x is finite and lies in the box."""
    check_finite("x", x)
    smallest, largest = extremes(x)
    if not (smallest >= low and largest <= high):
        raise InputError(
            f"x has values in [{smallest:g}, {largest:g}], and the ball's box is [{low:g}, {high:g}]. "
            "Give pixels in that box (normalisation belongs into the Classifier: mean=, std=), or another "
            "box: low=, high=."
        )
