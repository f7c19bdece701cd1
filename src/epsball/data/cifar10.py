"""``cifar10:DIR``: CIFAR-10 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009).

Three forms are read; where a folder holds files of several, the first of this list is taken.

- binary: ``data_batch_{1..5}.bin``, ``test_batch.bin``; records of 1 + 3072 bytes, mapped.
- python: ``data_batch_{1..5}``, ``test_batch``; pickles, of which nothing is run.
- npz: ``cifar10_train_batch_{1..5}.npz``, ``cifar10_test.npz`` with ``images`` uint8 (n, 3, 32, 32),
  ``labels`` (n,) and ``index`` (n,), the position of each row in the whole official set.

Positions are those of the official set (0..9999 of test; 0..49999 of train, batch k beginning at
10000(k-1)), also where images or whole batches are absent: what is there is used as it is, and
a selection that skips absent ones warns with `IncompleteData`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from epsball.data.arrays import dataset_of
from epsball.data.checks import as_labels, check_images
from epsball.data.dataset import Dataset
from epsball.data.inert_pickle import array_of, read_pickle
from epsball.data.npz import read_npz
from epsball.errors import InputError, lookup

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_BATCH = 10_000
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_NAMES = {
    "binary": ("data_batch_{}.bin", "test_batch.bin"),
    "python": ("data_batch_{}", "test_batch"),
    "npz": ("cifar10_train_batch_{}.npz", "cifar10_test.npz"),
}
_Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def open_cifar10(path: str, *, split: str) -> Dataset:
    """Return one part of a folder of CIFAR-10 files: uint8 (n, 3, 32, 32), official positions."""
    folder = Path(path).expanduser()
    lookup(dict.fromkeys(("train", "test")), split, "split of cifar10:")
    form, files = _find(folder, split)
    batches = [_READERS[form](file, _BATCH * number) for number, file in files]
    images, labels, positions = zip(*batches, strict=True)
    there = np.concatenate(positions)
    return dataset_of(
        images,
        np.concatenate(labels),
        where=(f"images in {folder}", f"labels in {folder}"),
        classes=len(CLASSES),
        class_names=CLASSES,
        positions=torch.from_numpy(there),
        split=split,
        absent=tuple(np.setdiff1d(np.arange(_BATCH * (5 if split == "train" else 1)), there).tolist()),
    )


def _find(folder: Path, split: str) -> tuple[str, list[tuple[int, Path]]]:
    """Return the form found and its files, each with the number of its batch."""
    looked = []
    for form, (train, test) in _NAMES.items():
        names = [train.format(k) for k in range(1, 6)] if split == "train" else [test]
        files = [(number, folder / name) for number, name in enumerate(names) if (folder / name).is_file()]
        if files:
            return form, files
        looked.append(names[0])
    there = "the folder is there" if folder.is_dir() else "there is no such folder"
    raise InputError(f"no CIFAR-10 {split} files in {folder} ({there}); looked for {', '.join(looked)}.")


def _binary(file: Path, first: int) -> _Batch:
    size = file.stat().st_size
    if size == 0 or size % (1 + _PIXELS):
        raise InputError(
            f"{file} has {size} bytes; a CIFAR-10 batch is a whole number of records of {1 + _PIXELS} bytes. "
            "It is cut off or another file: fetch it again."
        )
    records = np.memmap(file, np.uint8, "r").reshape(-1, 1 + _PIXELS)
    return _checked(file, records[:, 1:].reshape(-1, *_SHAPE), np.array(records[:, 0]), first)


def _python(file: Path, first: int) -> _Batch:
    batch = read_pickle(file)
    missing = [key for key in ("data", "labels") if key not in batch]
    if missing:
        raise InputError(
            f"{file} has no {' and no '.join(missing)}; it has {', '.join(batch) or 'nothing'}. "
            "A CIFAR-10 batch has data and labels."
        )
    data, labels = array_of(batch["data"], f"data in {file}"), array_of(batch["labels"], f"labels in {file}")
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _PIXELS:
        raise InputError(f"data in {file} is {data.dtype} {data.shape}; CIFAR-10 has uint8 (n, {_PIXELS}).")
    return _checked(file, data.reshape(-1, *_SHAPE), labels, first)


def _npz(file: Path, first: int) -> _Batch:
    arrays = read_npz(file, ("images", "labels", "index"))
    images, index = arrays["images"], arrays["index"]
    if images.dtype != np.uint8 or images.shape[1:] != _SHAPE:
        raise InputError(f"images in {file} are {images.dtype} {images.shape}; CIFAR-10 has uint8 (n, 3, 32, 32).")
    check_images(images, f"images in {file}")
    places = as_labels(index, f"index in {file}", count=len(images)).numpy()
    if places.min() < first or places.max() >= first + _BATCH or len(np.unique(places)) < len(places):
        raise InputError(
            f"index in {file} reaches from {places.min()} to {places.max()} with {len(np.unique(places))} "
            f"different values for {len(places)} images; it must give each its own position in "
            f"{first}..{first + _BATCH - 1}."
        )
    images, labels, _ = _checked(file, images, arrays["labels"], first)
    return images, labels, places


def _checked(file: Path, images: np.ndarray, labels: np.ndarray, first: int) -> _Batch:
    """Return a batch whose labels belong to its images, with positions from `first` on."""
    check_images(images, f"images in {file}")
    if len(images) > _BATCH:
        raise InputError(f"{file} has {len(images)} images; a CIFAR-10 batch has at most {_BATCH}.")
    y = as_labels(labels, f"labels in {file}", count=len(images), classes=len(CLASSES)).numpy()
    return images, y, np.arange(first, first + len(images))


_READERS: dict[str, Callable[[Path, int], _Batch]] = {"binary": _binary, "python": _python, "npz": _npz}
