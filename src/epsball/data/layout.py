"""Where the channels of stored images stand, and a data set in another layout."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from epsball.data.dataset import Dataset

_CHANNELS = (1, 3)
_LEAST = 5
"""Fewer rows or columns may be channels themselves."""


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Return whether the shape of one image reads as height, width, channels and not as channels first.

    Examples
    --------
    >>> is_channels_last((32, 32, 3)), is_channels_last((3, 32, 32)), is_channels_last((3, 32, 3))
    (True, False, False)
    """
    return len(shape) == 3 and shape[2] in _CHANNELS and min(shape[:2]) >= _LEAST


def is_plane(shape: tuple[int, ...]) -> bool:
    """Return whether the shape of one image reads as height and width without channels."""
    return len(shape) == 2 and min(shape) >= _LEAST


def channels_first(data: Dataset, note: str) -> Dataset:
    """Return images stored as (height, width, channels) as (channels, height, width)."""
    height, width, channels = data.shape
    return _arranged(data, (channels, height, width), _to_first, note)


def with_channel(data: Dataset, note: str) -> Dataset:
    """Return images stored as (height, width) as (1, height, width)."""
    return _arranged(data, (1, *data.shape), _unsqueezed, note)


def is_moved(data: Dataset) -> bool:
    """Return whether `channels_first` made the data."""
    return isinstance(data.read, _Arranged) and data.read.arrange is _to_first


def stored(data: Dataset, note: str) -> Dataset:
    """Return data that `channels_first` made as they are stored."""
    channels, height, width = data.shape
    return _arranged(data, (height, width, channels), _to_last, note)


@dataclass(frozen=True)
class _Arranged:
    """Reads rows and arranges their axes."""

    read: Callable[[Tensor], Tensor]
    arrange: Callable[[Tensor], Tensor]

    def __call__(self, rows: Tensor) -> Tensor:
        return self.arrange(self.read(rows)).contiguous()


def _arranged(data: Dataset, shape: tuple[int, ...], arrange: Callable[[Tensor], Tensor], note: str) -> Dataset:
    return replace(data, read=_Arranged(data.read, arrange), shape=shape, notes=(*data.notes, note))


def _to_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def _to_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _unsqueezed(x: Tensor) -> Tensor:
    return x[:, None]
