"""Data sets of what Python code already has: an (x, y) pair, or an object with len and slicing."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from epsball.data.arrays import dataset_of
from epsball.data.checks import as_labels, check_images
from epsball.data.dataset import Dataset
from epsball.errors import InputError

_CHUNK = 256
_Form = tuple[tuple[int, ...], torch.dtype]


def from_pair(x: Any, y: Any) -> Dataset:
    """Return the data set of images x (n, *shape) and labels y (n,), tensors or arrays."""
    check_images(x, "x")
    return dataset_of([x], y, where=("x", "y"))


def from_object(source: Any) -> Dataset:
    """Return the data set of an object with ``len(source)`` and ``source[i:j] -> (x, y)``.

    The object is read through once, in slices, to check it and to learn its labels; its images
    are not kept but read again when asked for.
    """
    kind = type(source).__name__
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise InputError(
            f"data of type {kind} cannot be read; give a text KIND:PATH, a pair (x, y), "
            "or an object with len(d) and d[i:j] -> (x, y)."
        )
    if len(source) == 0:
        raise InputError(f"data of type {kind} has length 0; at least one example is needed.")
    count = len(source)
    x, y = _slice(source, 0, min(_CHUNK, count), None)
    form = (tuple(x.shape[1:]), x.dtype)
    later = range(_CHUNK, count, _CHUNK)
    labels = [y, *(_slice(source, start, min(start + _CHUNK, count), form)[1] for start in later)]
    y = torch.cat(labels)
    return Dataset(
        read=partial(_read, source, form),
        rows=torch.arange(len(y)),
        labels=y,
        positions=torch.arange(len(y)),
        shape=form[0],
        classes=int(y.max()) + 1,
    )


def _read(source: Any, form: _Form, rows: Tensor) -> Tensor:
    """Return rows of a foreign object, one slice for each run of neighbours."""
    breaks = (rows.diff() != 1).nonzero()[:, 0] + 1
    runs = rows.tensor_split(breaks)
    return torch.cat([_slice(source, int(run[0]), int(run[-1]) + 1, form)[0] for run in runs])


def _slice(source: Any, start: int, stop: int, form: _Form | None) -> tuple[Tensor, Tensor]:
    """Return the checked examples start..stop-1 of a foreign object, of the form of its first ones."""
    where = f"{type(source).__name__}[{start}:{stop}]"
    try:
        pair = source[start:stop]
    except Exception as error:
        raise InputError(f"{where} failed ({type(error).__name__}: {error}); a slice must give (x, y).") from error
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise InputError(f"{where} is a {type(pair).__name__}; a slice must give a pair (x, y), images and labels.")
    x, y = pair
    check_images(x, f"x of {where}")
    images = x.detach() if isinstance(x, Tensor) else torch.from_numpy(np.array(x))
    if len(images) != stop - start or form not in (None, (tuple(images.shape[1:]), images.dtype)):
        expected = "" if form is None else f" of shape {form[0]} and type {form[1]}, as in the first slice"
        raise InputError(
            f"x of {where} is {images.dtype} of shape {tuple(images.shape)}; expected {stop - start} images{expected}."
        )
    return images, as_labels(y, f"y of {where}", count=len(images))
