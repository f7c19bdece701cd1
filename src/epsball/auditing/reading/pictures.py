"""The values of examples and witnesses as a page shows them: small, and so that no change disappears."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from epsball.auditing.reading.run import Reading

SIDE = 96
"""Pixels of an image's longer side, at most: larger ones are shown by blocks."""

BARS = 256
"""Values of an example that is not an image, at most: those that change most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An example, and what its witness changes.

    Parameters
    ----------
    index
        Position of the example.
    kind
        ``"image"`` of shape (h, w, 1) or (h, w, 3), or ``"bars"`` of shape (d,).
    x, change
        Values of the example, and witness - example; `change` is None where there is no witness.
    block
        Side of the blocks of an image: a value is their mean, a change their largest.
    places
        Of bars that are some of all values: which.
    """

    index: int
    kind: Literal["image", "bars"]
    x: np.ndarray
    change: np.ndarray | None
    block: int = 1
    places: np.ndarray | None = None


def pictures(reading: Reading, wanted: Sequence[int]) -> list[Picture]:
    """Return those of the wanted examples whose values the run folder holds, in their order."""
    chosen = set(wanted)
    found: dict[int, Picture] = {}
    index, x = reading.shown.get("example.index"), reading.shown.get("example.x")
    if index is not None and x is not None:
        for position, values in zip(index.tolist(), x, strict=False):
            if position in chosen:
                found[position] = _picture(position, values, None)
    for part in reading.witnesses():
        for position, values, point in zip(part["index"].tolist(), part["x"], part["x_adv"], strict=False):
            if position in chosen:
                found[position] = _picture(position, values, point.astype(np.float64) - values)
    return [found[position] for position in wanted if position in found]


def held(reading: Reading) -> set[int]:
    """Return the positions of the examples whose values the run folder holds."""
    known = {int(i) for i in reading.shown.get("example.index", np.zeros(0)).tolist()}
    return known.union(*(part["index"].tolist() for part in reading.witnesses()))


def _picture(index: int, x: np.ndarray, change: np.ndarray | None) -> Picture:
    values = np.nan_to_num(x.astype(np.float64))
    if values.ndim == 2 and min(values.shape) > 1:
        values, change = values[None], None if change is None else change[None]
    if values.ndim != 3 or values.shape[0] not in (1, 3) or min(values.shape[1:]) < 2:
        return _bars(index, values.reshape(-1), None if change is None else change.reshape(-1))
    block = math.ceil(max(values.shape[1:]) / SIDE)
    return Picture(
        index=index,
        kind="image",
        x=_blocks(values, block).mean(axis=-1).transpose(1, 2, 0),
        change=None if change is None else _largest(_blocks(change, block)).transpose(1, 2, 0),
        block=block,
    )


def _blocks(values: np.ndarray, block: int) -> np.ndarray:
    """Return (channels, rows, columns, block * block): an edge block is filled by its last row and column."""
    channels, height, width = values.shape
    more = ((0, 0), (0, -height % block), (0, -width % block))
    padded = np.pad(values, more, mode="edge")
    rows, columns = padded.shape[1] // block, padded.shape[2] // block
    cut = padded.reshape(channels, rows, block, columns, block).transpose(0, 1, 3, 2, 4)
    return cut.reshape(channels, rows, columns, block * block)


def _largest(values: np.ndarray) -> np.ndarray:
    """Return the value of largest size along the last axis."""
    return np.take_along_axis(values, np.abs(values).argmax(axis=-1)[..., None], axis=-1)[..., 0]


def _bars(index: int, x: np.ndarray, change: np.ndarray | None) -> Picture:
    if len(x) <= BARS:
        return Picture(index=index, kind="bars", x=x, change=change)
    size = np.zeros(len(x)) if change is None else np.abs(change)
    places = np.sort(np.argsort(-size, kind="stable")[:BARS])
    return Picture(
        index=index, kind="bars", x=x[places], change=None if change is None else change[places], places=places
    )
