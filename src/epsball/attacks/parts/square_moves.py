"""Moves of the Square attack, for each norm: new values in a random square of the perturbation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.ball import Neighbourhood
from epsball.randomness import Keys

TINY = 1e-12
TILES = 5
"""Tiles per side of the first l2 and l1 perturbation (more where the side does not divide evenly)."""


@dataclass(frozen=True, eq=False)
class Draw:
    """The random part of one proposal, one row per point.

    Parameters
    ----------
    window
        Height and width of both windows.
    first, second
        The cells at their upper left corners, as positions in the flattened grid.
    sideways, up
        One bit per point, and one per channel.
    """

    window: tuple[int, int]
    first: Int64[Tensor, " n"]
    second: Int64[Tensor, " n"]
    sideways: Int64[Tensor, " n"]
    up: Int64[Tensor, "n channels 1"]


@dataclass(frozen=True)
class Grid:
    """An example as channels of rows and columns; flat inputs are one row.

    Parameters
    ----------
    channels, height, width
        Their numbers; the product is the number of coordinates.
    """

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Grid":
        """Return the grid of one example's shape: its last two axes, the others being channels."""
        *channels, height, width = (1, 1, *shape)
        return cls(math.prod(channels), height, width)

    @property
    def words(self) -> int:
        """32-bit words drawn per proposal: two places, an orientation, a sign for each channel."""
        return 5 + math.ceil(self.channels / 32)

    def window(self, side: int) -> tuple[int, int]:
        """Return height and width of a square of that side, or of a rectangle as large where the grid is narrower."""
        if side <= min(self.height, self.width):
            return side, side
        if self.height <= self.width:
            return self.height, min(self.width, max(1, round(side * side / self.height)))
        return min(self.height, max(1, round(side * side / self.width))), self.width

    def draws(self, words: Int64[Tensor, "n queries k"], windows: Sequence[tuple[int, int]]) -> list[Draw]:
        """Return the proposals that the words of each query encode; corners are uniform over where the window fits."""
        room = words.new_tensor([(self.height - high + 1, self.width - wide + 1) for high, wide in windows])
        top, left = ((words[..., :4].unflatten(2, (2, 2)) * room[:, None]) >> 32).unbind(3)
        first, second = (top * self.width + left).unbind(2)
        bits = (words[..., 5:, None] >> torch.arange(32, device=words.device)) & 1
        parts = (first, second, words[..., 4] & 1, bits.flatten(2)[..., : self.channels, None])
        return [Draw(*own) for own in zip(windows, *(part.unbind(1) for part in parts), strict=True)]

    def cells(self, corner: Int64[Tensor, " n"], window: tuple[int, int]) -> Int64[Tensor, "n channels cells"]:
        """Return the cells of a window at a corner, in every channel, as positions in the flattened grid."""
        cells = corner[:, None] + _offsets(window, self.width, corner.device)
        return cells[:, None].expand(-1, self.channels, -1)


@cache
def _offsets(window: tuple[int, int], width: int, device: torch.device) -> Tensor:
    """Return the positions of a window's cells, counted from its corner."""
    rows, columns = (torch.arange(size, device=device) for size in window)
    return (rows[:, None] * width + columns).flatten()


@runtime_checkable
class Moves(Protocol):
    """First points and proposals around the centres of a neighbourhood."""

    @property
    def grid(self) -> Grid:
        """The examples' shape."""
        ...

    def first(self, keys: Keys) -> Tensor:
        """Return the first points."""
        ...

    def draws(self, words: Tensor, sides: Sequence[int]) -> list[Draw]:
        """Return the random parts of proposals with squares of these sides."""
        ...

    def propose(self, best: Tensor, draw: Draw) -> Tensor:
        """Return the best points with new values in a random square."""
        ...

    def take(self, rows: Tensor) -> "Moves":
        """Return the moves of some of the rows."""
        ...


@dataclass(frozen=True, eq=False)
class VertexMoves:
    """linf: every coordinate at one end of the ball; a proposal puts a square at one end, channel by channel.

    Parameters
    ----------
    grid
        The examples' shape.
    ends
        The lower, then the upper ends of all coordinates, along the last axis.
    shape
        Shape of one example.
    """

    grid: Grid
    ends: Float[Tensor, "n channels twice_cells"]
    shape: tuple[int, ...]

    @classmethod
    def around(cls, neighbourhood: Neighbourhood) -> "VertexMoves":
        """Return the moves around the centres of a neighbourhood."""
        grid, x = Grid.of(neighbourhood.shape), neighbourhood.x
        ends = [neighbourhood.project(x + way * 2 * neighbourhood.radius) for way in (-1, 1)]
        return cls(grid, torch.cat([end.reshape(len(x), grid.channels, -1) for end in ends], 2), neighbourhood.shape)

    def first(self, keys: Keys) -> Tensor:
        """Return vertical stripes of one pixel, each of a random sign."""
        grid = self.grid
        up = keys.bits(grid.channels * grid.width).view(-1, grid.channels, 1, grid.width) & 1
        lower, upper = self.ends.tensor_split(2, 2)
        points = torch.where(up.expand(-1, -1, grid.height, -1).flatten(2) == 1, upper, lower)
        return points.view(-1, *self.shape)

    def draws(self, words: Int64[Tensor, "n queries k"], sides: Sequence[int]) -> list[Draw]:
        """Return the random parts of proposals with squares of these sides."""
        return self.grid.draws(words, [self.grid.window(side) for side in sides])

    def propose(self, best: Tensor, draw: Draw) -> Tensor:
        """Return the best points with a random square set to ends of the ball of random sign."""
        grid = self.grid
        cells = grid.cells(draw.first, draw.window)
        ends = self.ends.gather(2, cells + draw.up * (grid.height * grid.width))
        return best.reshape(len(best), grid.channels, -1).scatter(2, cells, ends).view_as(best)

    def take(self, rows: Tensor) -> "VertexMoves":
        """Return the moves of some of the rows."""
        return replace(self, ends=self.ends[rows])


@dataclass(frozen=True, eq=False)
class MassMoves:
    """l2 and l1: bumps that use the whole radius; a proposal moves the mass of one square to another.

    Parameters
    ----------
    grid
        The examples' shape.
    neighbourhood
        Ball and box around the centres.
    order
        The p of the norm, 2 or 1.
    """

    grid: Grid
    neighbourhood: Neighbourhood
    order: int

    def first(self, keys: Keys) -> Tensor:
        """Return a grid of bumps of random orientation and sign, as long as the radius allows."""
        grid, n = self.grid, len(self.neighbourhood)
        high, wide = max(1, grid.height // TILES), max(1, grid.width // TILES)
        top, left = grid.height % high // 2, grid.width % wide // 2
        down, across = grid.height // high, grid.width // wide
        delta = self.neighbourhood.x.new_zeros(n, grid.channels, grid.height, grid.width)
        bits = keys.bits(down * across * (grid.channels + 1)).view(n, down, across, -1) & 1
        for i in range(down):
            for j in range(across):
                bump = self._bump((high, wide), bits[:, i, j, 0], delta).view(n, 1, high, wide)
                rows, columns = top + i * high, left + j * wide
                signs = bits[:, i, j, 1:, None, None] * 2 - 1
                delta[:, :, rows : rows + high, columns : columns + wide] = bump * signs
        return self._filled(delta.flatten(2))

    def draws(self, words: Int64[Tensor, "n queries k"], sides: Sequence[int]) -> list[Draw]:
        """Return the random parts of proposals with squares of these sides, made odd and at least 3."""
        odd = (max(side + 1 - side % 2, 3) for side in sides)
        return self.grid.draws(words, [self.grid.window(side) for side in odd])

    def propose(self, best: Tensor, draw: Draw) -> Tensor:
        """Return the best points with a second square emptied into the first, which gets a bump on top.

        With m the sum of abs(v_i)^p, a channel of the first square becomes a direction of length
        ((radius^p - m(delta)) / channels + m(both squares of the channel))^(1/p); in l1 that is taken once
        for every channel, and the projection decides.
        """
        grid, p, radius = self.grid, self.order, self.neighbourhood.radius
        first, second = (grid.cells(corner, draw.window) for corner in (draw.first, draw.second))
        delta = (best - self.neighbourhood.x).reshape(len(best), grid.channels, -1)
        old, rest = delta.gather(2, first), delta.scatter(2, first, 0)
        freed = self._length(old) ** p + self._length(rest.gather(2, second)) ** p
        unused = (radius**p - self._length(delta.flatten(1)) ** p).clamp(min=0)[:, None]
        length = (unused / grid.channels + freed) ** (1 / p) * (grid.channels if p == 1 else 1)
        new = self._bump(draw.window, draw.sideways, delta)[:, None] * (draw.up * 2 - 1)
        new = new + old / (self._length(old) + TINY)
        new *= length / (self._length(new) + TINY)
        rest.scatter_(2, second, 0)
        return self._filled(rest.scatter_(2, first, new))

    def take(self, rows: Tensor) -> "MassMoves":
        """Return the moves of some of the rows."""
        return replace(self, neighbourhood=self.neighbourhood.take(rows))

    def _length(self, v: Tensor) -> Tensor:
        """Return the norm over the last axis."""
        return torch.linalg.vector_norm(v, self.order, dim=-1, keepdim=True)

    def _bump(self, window: tuple[int, int], sideways: Tensor, like: Tensor) -> Tensor:
        """Return one bump per row, (n, cells): one half up and one down, beside or above each other."""
        above, beside = (torch.tensor(bump, dtype=like.dtype, device=like.device) for bump in bumps(window, self.order))
        return torch.where(sideways[:, None] == 1, beside, above)

    def _filled(self, delta: Tensor) -> Tensor:
        """Return the points of displacements (n, channels, cells), in l2 stretched to the radius, projected."""
        if self.order == 2:
            delta = delta * (self.neighbourhood.radius / (self._length(delta.flatten(1))[:, None] + TINY))
        x = self.neighbourhood.x
        return self.neighbourhood.project(x + delta.reshape(x.shape))


def moves_in(neighbourhood: Neighbourhood) -> Moves:
    """Return the moves of the neighbourhood's norm."""
    if neighbourhood.norm.order == math.inf:
        return VertexMoves.around(neighbourhood)
    return MassMoves(Grid.of(neighbourhood.shape), neighbourhood, int(neighbourhood.norm.order))


@cache
def bumps(window: tuple[int, int], order: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the two bumps of a window, of length 1 in the norm: halves above each other, and beside each other."""
    height, width = window
    above, beside = _halves(height, width, order), _halves(width, height, order).T
    return tuple(above.flatten().tolist()), tuple(beside.flatten().tolist())


def _halves(height: int, width: int, order: int) -> Tensor:
    """Return a pyramid above a negative one, together of length 1."""
    both = torch.cat([_pyramid(height // 2, width, order), -_pyramid(height - height // 2, width, order)])
    return both / torch.linalg.vector_norm(both, order)


def _pyramid(height: int, width: int, order: int) -> Tensor:
    """Return the sum of 1 / k^2 (in l1 1 / k^4) over ever larger squares around the middle, of length 1."""
    pyramid = torch.zeros(height, width, dtype=torch.float64)
    rows, columns = height // 2 + 1, width // 2 + 1
    for k in range(max(rows, columns)):
        top, left = rows - 1 - k, columns - 1 - k
        size = 2 * k + 1
        inside = pyramid[max(top, 0) : top + size, max(left, 0) : left + size]
        inside += 1 / (k + 1) ** (2 if order == 2 else 4)
    return pyramid / torch.linalg.vector_norm(pyramid, order).clamp(min=TINY)
