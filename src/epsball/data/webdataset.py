"""``webdataset:PATH``: tar shards in which the files of an example share its key; decoded on access.

The form is that of the webdataset library (Aizman, Maltby and Breuel, 2019): ``KEY.jpg`` and ``KEY.cls`` follow each
other.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from epsball.data.checks import as_labels
from epsball.data.dataset import Dataset
from epsball.data.pictures import SUFFIXES, Form, check_like_first, decoded, form_of
from epsball.data.shards import files_of
from epsball.errors import InputError

_LONGEST = 32
"""Most bytes of a label's file."""


@dataclass(frozen=True)
class _Example:
    """An example of a tar file: its key, where its picture lies there, and its label."""

    key: str
    start: int
    size: int
    label: int


def open_webdataset(path: str, *, image: str | None = None, label: str = "cls") -> Dataset:
    """Return the examples of tar shards, in the order in which they lie there.

    Only the headers of the tars are read here, and the labels. Where all keys are whole numbers, they are the
    positions of the examples; else positions count from 0.

    Parameters
    ----------
    path
        A folder of ``.tar`` files, one of them, or a pattern: ``DIR/val-{000..012}.tar``.
    image, label
        The extensions of pictures, by default the only one there is, and of labels: a text file with a number.
    """
    files = files_of(path, ".tar", "webdataset")
    suffixes = SUFFIXES if image is None else {f".{image.removeprefix('.').lower()}"}
    keys, owners, starts, sizes, labels = [], [], [], [], []
    for number, file in enumerate(files):
        for example in _examples(file, suffixes, label.removeprefix(".")):
            keys.append(example.key)
            owners.append(number)
            starts.append(example.start)
            sizes.append(example.size)
            labels.append(example.label)
    if not keys:
        raise InputError(f"'webdataset:{path}' holds no example; name pictures and labels by image=EXT,label=EXT.")
    positions, note = _positions(keys)
    y = as_labels(np.array(labels), f"labels of 'webdataset:{path}'", count=len(keys))
    reader = _Reader(files, np.array(owners), np.array(starts), np.array(sizes))
    return Dataset(
        read=reader,
        rows=torch.arange(len(keys)),
        labels=y,
        positions=positions,
        shape=reader.form[0],
        classes=int(y.max()) + 1,
        notes=note,
    )


def _positions(keys: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Return the position of each key, and what is to be said of it."""
    names = [key.rpartition("/")[2] for key in keys]
    numbers = [int(name) for name in names if name.isascii() and name.isdigit() and len(name) <= 18]
    if len(numbers) < len(names):
        return torch.arange(len(keys)), (f"keys are not whole numbers ({names[0]}): positions count from 0",)
    if len(set(numbers)) < len(numbers):
        ((twice, _),) = Counter(numbers).most_common(1)
        raise InputError(f"key {twice} occurs twice in the shards; every example has a key of its own.")
    return torch.tensor(numbers), ("positions are the keys",)


def _examples(file: Path, suffixes: set[str], label: str) -> Iterator[_Example]:
    """Yield the examples of a tar file: the members that follow each other under one key."""
    try:
        with tarfile.open(file, "r:") as tar:
            key, members = None, {}
            for member in tar:
                if not member.isfile():
                    continue
                own, _, extension = member.name.rpartition("/")[2].partition(".")
                whole = member.name[: len(member.name) - len(extension) - 1]
                if whole != key and members:
                    yield _example(file, tar, str(key), members, suffixes, label)
                    members = {}
                key = whole
                if own and extension:
                    members[extension.lower()] = member
            if members:
                yield _example(file, tar, str(key), members, suffixes, label)
    except tarfile.TarError as error:
        raise InputError(
            f"{file} is not a whole tar file ({error}); fetch it again, and unpack it if it is compressed: examples "
            "are read at their place."
        ) from error


def _example(
    file: Path,
    tar: tarfile.TarFile,
    key: str,
    members: dict[str, tarfile.TarInfo],
    suffixes: set[str],
    label: str,
) -> _Example:
    pictures = [extension for extension in members if f".{extension}" in suffixes]
    if len(pictures) != 1 or label not in members:
        raise InputError(
            f"{file}: key {key} has {', '.join(members)}; an example has one picture and a label. Name their "
            "extensions by image=EXT,label=EXT."
        )
    picture, content = members[pictures[0]], tar.extractfile(members[label])
    text = b"" if content is None else content.read(_LONGEST)
    if not text.strip().isdigit():
        raise InputError(f"{file}: {key}.{label} holds {text!r}; a label is a whole number from 0.")
    return _Example(key, picture.offset_data, picture.size, int(text))


class _Reader:
    """Reads and decodes pictures at their place; `form` is that of the first one."""

    def __init__(self, files: Sequence[Path], owners: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> None:
        self.files, self.owners, self.starts, self.sizes = files, owners, starts, sizes
        self.form: Form = form_of(self._picture(0))

    def __call__(self, rows: Tensor) -> Tensor:
        pictures = []
        for row in rows.tolist():
            picture = self._picture(row)
            check_like_first(picture, self._where(row), self.form, self._where(0))
            pictures.append(picture)
        return torch.stack(pictures)

    def _picture(self, row: int) -> Tensor:
        with self.files[self.owners[row]].open("rb") as file:
            file.seek(int(self.starts[row]))
            return decoded(file.read(int(self.sizes[row])), self._where(row))

    def _where(self, row: int) -> str:
        return f"example {row} of {self.files[self.owners[row]].name}"
