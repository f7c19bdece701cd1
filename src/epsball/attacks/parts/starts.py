"""Where an ascent begins: each start maps (neighbourhood, keys, index) to points of the neighbourhood."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.attacks.parts.square_moves import Grid
from epsball.ball import Neighbourhood
from epsball.errors import InputError, lookup
from epsball.randomness import Keys

Start = Callable[[Neighbourhood, Keys, Tensor], Tensor]

StartName = Literal["uniform", "surface", "none", "gaussian"]


def uniform(neighbourhood: Neighbourhood, keys: Keys, index: Tensor) -> Tensor:
    """Return points uniform in the unboxed ball, projected onto ball and box."""
    return neighbourhood.sample(keys)


def centre(neighbourhood: Neighbourhood, keys: Keys, index: Tensor) -> Tensor:
    """Return the examples themselves."""
    return neighbourhood.x


def surface(neighbourhood: Neighbourhood, keys: Keys, index: Tensor) -> Tensor:
    """Return points at the radius from the examples, in random directions, projected (Auto-PGD's start)."""
    x, norm = neighbourhood.x, neighbourhood.norm
    draws = norm.draw(keys, x[0].numel())
    draws *= neighbourhood.radius / torch.linalg.vector_norm(draws, norm.order, dim=1, keepdim=True)
    return neighbourhood.project(draws.view(x.shape).add_(x).to(x.dtype))


def gaussian(scale: float = 0.001) -> Start:
    """Return the start x + scale * N(0, I), projected (TRADES: scale 0.001)."""
    if not scale > 0:
        raise InputError(f"the Gaussian start has scale {scale}; it must be positive. For no noise, start='none'.")

    def start(neighbourhood: Neighbourhood, keys: Keys, index: Tensor) -> Tensor:
        x = neighbourhood.x
        return neighbourhood.project(x.add(keys.normal(x.shape[1:], x.dtype), alpha=scale))

    return start


def given(points: Float[Tensor, "n *shape"]) -> Start:
    """Return the start at given points, one per example of the call, projected."""

    def start(neighbourhood: Neighbourhood, keys: Keys, index: Tensor) -> Tensor:
        x = neighbourhood.x
        if points.shape[1:] != x.shape[1:] or len(points) <= int(index.max()):
            raise InputError(
                f"the given start is {tuple(points.shape)}; it needs one point of shape {tuple(x.shape[1:])} "
                f"for each example of the call ({int(index.max()) + 1} or more)."
            )
        return neighbourhood.project(points[index.to(points.device)].to(x))

    return start


STARTS: dict[str, Start] = {"uniform": uniform, "surface": surface, "none": centre, "gaussian": gaussian()}


def resolve(start: str | Tensor | Start) -> Start:
    """Return the start of that name, at those points, or the callable itself.

    Raises
    ------
    InputError
        If no start has that name.
    """
    if isinstance(start, Tensor):
        return given(start)
    if not isinstance(start, str):
        return start
    return lookup(STARTS, start, "start")


DIVISIONS = (7, 4, 2, 1)
"""Blocks per side: of 4, 7, 14 and 28 pixels on 28."""


def block_corners(neighbourhood: Neighbourhood, keys: Keys, number: int) -> Float[Tensor, "n *shape"]:
    """Return corners of the ball whose sign is constant on blocks, channel by channel.

    Blocks of pixels that move together reach regions of a masked network to which gradients at the
    example do not point.

    Parameters
    ----------
    neighbourhood
        Ball and box around the examples.
    keys
        One key per example.
    number
        Number of the block size, taken cyclically.
    """
    x, grid = neighbourhood.x, Grid.of(neighbourhood.shape)
    blocks = DIVISIONS[number % len(DIVISIONS)]
    rows, columns = (
        torch.arange(size, device=x.device) * min(blocks, size) // size for size in (grid.height, grid.width)
    )
    down, across = min(blocks, grid.height), min(blocks, grid.width)
    bits = keys.bits(grid.channels * down * across).view(len(x), grid.channels, down, across) & 1
    signs = (bits * 2 - 1)[:, :, rows][:, :, :, columns].reshape(x.shape)
    return neighbourhood.project(x + 2 * neighbourhood.radius * signs.to(x.dtype))
