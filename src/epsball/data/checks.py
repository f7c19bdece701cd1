"""The rules for images and labels, whatever they were read from."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from epsball.errors import InputError

_TYPES = {"uint8", "float16", "bfloat16", "float32", "float64"}
_CHUNK = 1 << 24


def check_images(x: Any, where: str) -> None:
    """Check that `x`, a tensor or array named `where`, holds images: (n, *shape), uint8 or finite floats.

    Floats are looked at in chunks, so that an array mapped from a file is never in memory as a whole.
    """
    if not isinstance(x, Tensor | np.ndarray):
        raise InputError(f"{where} is of type {type(x).__name__}; give a tensor or a numpy array.")
    if str(x.dtype).removeprefix("torch.") not in _TYPES:
        raise InputError(
            f"{where} is {x.dtype}; images are uint8 (0..255) or native floats (pixels in [0, 1]). "
            "Convert them yourself: what the numbers mean cannot be guessed."
        )
    if x.ndim < 2 or 0 in x.shape:
        raise InputError(
            f"{where} has shape {tuple(x.shape)}; it must be (n, *shape) with at least one example, "
            "for instance (n, channels, height, width) or (n, features)."
        )
    if str(x.dtype).endswith("uint8"):
        return
    step = max(1, _CHUNK // (x[0].nbytes or 1))
    for start in range(0, len(x), step):
        chunk = x[start : start + step]
        finite = torch.isfinite(chunk if isinstance(chunk, Tensor) else torch.from_numpy(np.array(chunk)))
        bad = (~finite).flatten(1).any(dim=1).nonzero()
        if len(bad):
            raise InputError(
                f"{where} holds NaN or infinity, first at row {start + int(bad[0])}; "
                "pixels are finite. Remove or mend these images."
            )


def as_labels(y: Any, where: str, *, count: int, classes: int | None = None) -> Tensor:
    """Return the labels named `where` as int64 (n,), on the device where they lie.

    Raises
    ------
    InputError
        If they are not `count` integers in one row, or one is negative or not below `classes`.
    """
    if not isinstance(y, Tensor | np.ndarray):
        raise InputError(f"{where} is of type {type(y).__name__}; give a tensor or a numpy array of integers.")
    if y.ndim != 1:
        fix = "Take the class of each row with argmax(1)." if y.ndim == 2 and y.shape[1] > 1 else "Flatten it."
        raise InputError(f"{where} has shape {tuple(y.shape)}; labels are one integer per example, (n,). {fix}")
    kind = str(y.dtype).removeprefix("torch.")
    if not kind.startswith(("int", "uint")):
        raise InputError(f"{where} is {y.dtype}; labels are integers 0..C-1. Convert with y.astype('int64').")
    if len(y) != count:
        raise InputError(f"{where} has {len(y)} labels for {count} images; there must be one per image.")
    labels = y.to(torch.int64) if isinstance(y, Tensor) else torch.from_numpy(y.astype(np.int64))
    _check_range(labels, where, classes)
    return labels


def _check_range(labels: Tensor, where: str, classes: int | None) -> None:
    wrong = (labels < 0) if classes is None else (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        rule = "count from 0" if classes is None else f"lie in 0..{classes - 1}"
        raise InputError(
            f"{where} has label {int(labels[row])} at row {row} ({int(wrong.sum())} such rows); "
            f"labels {rule}. Renumber them, or leave these rows out."
        )
