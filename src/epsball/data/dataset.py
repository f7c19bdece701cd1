"""What every data set is: images read when asked for, labels, and where each example came from."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from epsball.errors import InputError
from epsball.pixels import from_8bit
from epsball.plain import plain

Images = UInt8[Tensor, "n *shape"] | Float[Tensor, "n *shape"]
Integers = Int64[Tensor, " n"]

_WHOLE = 1 << 28
_SAMPLE = 1024
_CHUNK = 1 << 24


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset:
    """Examples (x, y) by position; `load` makes one of a text, a pair or an object.

    ``len(data)`` is the number of examples and ``data[i:j]`` gives (x, y): x exactly as stored
    (uint8 or a float type, shape (n, *shape)), y int64 (n,). Images are read when asked for, so
    a data set may be larger than memory; labels are always in memory.

    Parameters
    ----------
    read
        Gives the images of the rows it is asked for, an int64 tensor (m,), as a new tensor.
    rows
        The row in `read` of each example (n,).
    labels
        The label of each example (n,), in 0..classes-1.
    positions
        The position of each example in its source (n,).
    shape
        The shape of one image.
    classes
        The number of classes of the source.
    class_names
        The name of each class, if the source says.
    split
        The part of the source that was read, or None if the source has no parts.
    absent
        The positions that the complete source has and these files lack.
    name
        The text that loads the same examples again, or what was given in its place.
    notes
        What was inferred about the source, one sentence each.

    Examples
    --------
    >>> import epsball as eb
    >>> data = eb.data.load("digits").only([3, 5])
    >>> x, y = data[0:2]
    >>> x.shape, len(data)
    (torch.Size([2, 1, 8, 8]), 2)
    """

    read: Callable[[Int64[Tensor, " m"]], Tensor]
    rows: Integers
    labels: Integers
    positions: Integers
    shape: tuple[int, ...]
    classes: int
    class_names: tuple[str, ...] | None = None
    split: str | None = None
    absent: tuple[int, ...] = ()
    name: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"{self.name}: {len(self)} examples of shape {self.shape}, {self.classes} classes"

    def __getitem__(self, examples: Any) -> tuple[Images, Integers]:
        if not isinstance(examples, slice):
            raise InputError(f"a data set was indexed with {examples!r}; write data[i:j], or data.take([i, j, ...]).")
        chosen = range(*examples.indices(len(self)))
        return self._examples(torch.arange(len(chosen)) * chosen.step + chosen.start)

    def take(self, indices: Any) -> tuple[Images, Integers]:
        """Return the examples at `indices` (integers 0..n-1, in any order, also repeated)."""
        return self._examples(self._checked(indices))

    def only(self, indices: Any) -> "Dataset":
        """Return the data set of the examples at `indices`, in that order, positions kept."""
        chosen = self._checked(indices)
        if len(chosen) == 0:
            raise InputError("no indices were given; a data set has at least one example.")
        return replace(
            self,
            rows=self.rows[chosen],
            labels=self.labels[chosen],
            positions=self.positions[chosen],
            name=f"{len(chosen)} of {self.name}",
        )

    def fingerprint(self) -> str:
        """Return a sha256 of the content: the same examples in another file format give the same.

        It covers the images' type and shape, every label and every position, and the stored bytes
        of every image up to 256 MiB of images: ``sha256:...``. Above that it covers the bytes of
        1,024 images evenly spread from the first to the last and says so,
        ``sha256-of-1024-images:...``: a change of other images alone then goes unseen.
        """
        one = self.read(self.rows[:1])
        size = math.prod(self.shape) * one.element_size()
        count = len(self) if len(self) * size <= _WHOLE else min(len(self), _SAMPLE)
        covered = torch.arange(count) * (len(self) - 1) // max(1, count - 1)
        head = [str(one.dtype), list(self.shape), len(self), count]
        digest = hashlib.sha256(json.dumps(head).encode())
        for column in (self.labels, self.positions):
            digest.update(column.cpu().numpy().astype("<i8").tobytes())
        for rows in covered.split(max(1, _CHUNK // size)):
            images = self.read(self.rows[rows]).contiguous().cpu()
            digest.update(images.view(torch.uint8).numpy().data)
        return ("sha256:" if count == len(self) else f"sha256-of-{count}-images:") + digest.hexdigest()

    def _examples(self, chosen: Tensor) -> tuple[Images, Integers]:
        if len(chosen) == 0:
            return self.read(self.rows[:1])[:0], self.labels[:0]
        return plain(self.read(self.rows[chosen])), self.labels[chosen]

    def _checked(self, indices: Any) -> Integers:
        chosen = np.asarray(indices.cpu() if isinstance(indices, Tensor) else indices)
        if chosen.size == 0:
            return torch.zeros(0, dtype=torch.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise InputError(f"indices are {chosen.dtype} of shape {chosen.shape}; they must be a list of integers.")
        if chosen.min() < 0 or chosen.max() >= len(self):
            raise InputError(
                f"indices reach from {chosen.min()} to {chosen.max()}; {self.name} has examples 0..{len(self) - 1}."
            )
        return torch.from_numpy(chosen.astype(np.int64))


def as_pixels(x: Tensor) -> Float[Tensor, "..."]:
    """Return stored images as pixels: uint8 k becomes the float32 of k/255, floats stay as they are.

    Raises
    ------
    InputError
        If `x` is of another type.

    Examples
    --------
    >>> as_pixels(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return x if x.is_floating_point() else from_8bit(x)
