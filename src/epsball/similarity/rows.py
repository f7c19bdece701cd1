"""`Rows`: the inputs of a data set by position, so that two networks get the same rows in the same order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from epsball.data import Dataset, load
from epsball.errors import InputError
from epsball.pixels import from_8bit
from epsball.randomness import Keys


class Rows:
    """Inputs by position.

    Parameters
    ----------
    data
        A tensor or array (n, *shape), a pair (x, y), a text that `epsball.data.load` reads, or an
        object with a length that slices to x or (x, y). A `DataLoader` is read once into memory, in
        its own order. 8-bit pixels become float32.
    name
        Name of the data in messages.

    Attributes
    ----------
    ordered
        Whether reading the data again gives the same order (a shuffling loader does not).

    Raises
    ------
    InputError
        If the data are none of these.
    """

    def __init__(self, data: Any, name: str) -> None:
        if isinstance(data, str):
            data = load(data)
        self.ordered = not isinstance(data, DataLoader) or _in_order(data)
        if isinstance(data, DataLoader):
            data = _read(data, name)
        if isinstance(data, tuple | list):
            data = _of_pair(data, name)
        if isinstance(data, np.ndarray):
            data = _inputs(data)
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or getattr(data, "shape", None) == ():
            raise InputError(
                f"{name} is a {type(data).__name__}; give a tensor, a pair (x, y), a text, a DataLoader, "
                "or an object with a length that slices to (x, y)."
            )
        self._data, self._name = data, name

    def __len__(self) -> int:
        return len(self._data)

    def take(self, positions: Int64[Tensor, " m"]) -> Shaped[Tensor, "m *shape"]:
        """Return the inputs at these positions."""
        if isinstance(self._data, Dataset):
            x = self._data.take(positions)[0]
        elif isinstance(self._data, Tensor):
            x = self._data[positions.to(self._data.device)]
        else:
            x = torch.cat([self._slice(i) for i in positions.tolist()])
        return from_8bit(x) if x.dtype == torch.uint8 else x

    def _slice(self, position: int) -> Tensor:
        try:
            row = self._data[position : position + 1]
        except (TypeError, KeyError, IndexError) as error:
            raise InputError(
                f"{self._name} is a {type(self._data).__name__} that does not slice "
                f"({type(error).__name__}: {error}); read it through a DataLoader."
            ) from error
        return _inputs(row)


def _in_order(loader: DataLoader) -> bool:
    usual = type(loader.batch_sampler) in (BatchSampler, type(None))
    return isinstance(loader.dataset, IterableDataset) or (usual and isinstance(loader.sampler, SequentialSampler))


def _read(loader: DataLoader, name: str) -> Tensor:
    batches = [_inputs(batch) for batch in loader]
    if not batches:
        raise InputError(f"{name} is a DataLoader without batches; it must give rows.")
    return torch.cat(batches)


def _of_pair(data: Sequence[Any], name: str) -> Tensor:
    """Return x of (x, y) or (x,)."""
    if len(data) not in (1, 2):
        raise InputError(
            f"{name} is a {type(data).__name__} of {len(data)}; give a pair (x, y), or stack the rows to a tensor."
        )
    x, *y = data
    if y and hasattr(y[0], "__len__") and hasattr(x, "__len__") and len(y[0]) != len(x):
        raise InputError(f"{name} is a pair of {len(x)} and {len(y[0])} rows; x and y need the same length.")
    return _inputs(x)


def _inputs(batch: Any) -> Tensor:
    """Return x of x or (x, y)."""
    x = batch[0] if isinstance(batch, tuple | list) and len(batch) else batch
    x = torch.from_numpy(x) if isinstance(x, np.ndarray) else x
    if not isinstance(x, Tensor) or x.ndim < 1:
        raise InputError(f"the inputs of the data are a {type(x).__name__}; give tensors or arrays.")
    return x


def shuffled(rows: int) -> Int64[Tensor, " n"]:
    """Return the fixed random order in which rows are divided into batches.

    It makes batches alike even if the data are sorted by class or repeat a pattern; the error over
    batches needs that. The order depends on the number of rows alone.
    """
    keys = Keys.of_positions(torch.arange(rows), seed=0).derive("similarity")
    return keys.bits(1)[:, 0].argsort(stable=True)
