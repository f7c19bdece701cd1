"""Data sets of arrays, in memory or mapped from files."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from epsball.data.checks import as_labels, check_images
from epsball.data.dataset import Dataset

Array = Tensor | np.ndarray


def dataset_of(
    parts: Sequence[Array],
    labels: Array,
    *,
    where: tuple[str, str],
    classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
    positions: Tensor | None = None,
    split: str | None = None,
    absent: tuple[int, ...] = (),
) -> Dataset:
    """Return the checked data set of arrays, one after the other.

    Parameters
    ----------
    parts
        Arrays (n_i, *shape) of one shape and type; mapped ones stay mapped.
    labels
        The labels of all of them, (n,).
    where
        What errors call the images and the labels.
    classes
        The number of classes; without it, one more than the largest label.
    class_names, positions, split, absent
        As in `Dataset`; without `positions` they are 0..n-1.
    """
    for part in parts:
        check_images(part, where[0])
    count = sum(len(part) for part in parts)
    y = as_labels(labels, where[1], count=count, classes=classes)
    return Dataset(
        read=_Reader(parts),
        rows=torch.arange(count),
        labels=y,
        positions=torch.arange(count) if positions is None else positions,
        shape=tuple(parts[0].shape[1:]),
        classes=int(y.max()) + 1 if classes is None else classes,
        class_names=class_names,
        split=split,
        absent=absent,
    )


class _Reader:
    """Reads rows of arrays, one after the other."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = [part.detach() if isinstance(part, Tensor) else part for part in parts]
        self.ends = torch.tensor([0, *map(len, parts)]).cumsum(0)

    def __call__(self, rows: Tensor) -> Tensor:
        if len(self.parts) == 1:
            return _pick(self.parts[0], rows)
        owner = torch.bucketize(rows, self.ends[1:], right=True)
        blocks, places = [], []
        for number in owner.unique().tolist():
            mine = (owner == number).nonzero()[:, 0]
            blocks.append(_pick(self.parts[number], rows[mine] - self.ends[number]))
            places.append(mine)
        return torch.cat(blocks)[torch.cat(places).argsort()]


def _pick(part: Array, rows: Tensor) -> Tensor:
    return part[rows] if isinstance(part, Tensor) else torch.from_numpy(np.asarray(part[rows.numpy()]))
