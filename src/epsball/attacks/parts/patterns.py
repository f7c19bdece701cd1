"""Structured starts: corners of the ball of low spatial frequency."""

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.attacks.parts.square_moves import Grid
from epsball.ball import Neighbourhood
from epsball.randomness import Keys

DIVISIONS = (7, 4, 2, 1)
"""Blocks a side: of 4, 7, 14 and 28 pixels on 28."""


def block_corners(neighbourhood: Neighbourhood, keys: Keys, number: int) -> Float[Tensor, "n *shape"]:
    """Return corners of the ball whose sign is constant on blocks, channel by channel.

    Blocks of pixels that all move alike reach regions of a masked network that gradients at the example
    do not point to.

    Parameters
    ----------
    neighbourhood
        Ball and box around the examples.
    keys
        A key an example.
    number
        Which of the block sizes, cyclically.
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
