"""``folder:DIR``: one sub-folder per class, holding its pictures; decoded on access."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from epsball.data.dataset import Dataset
from epsball.data.pictures import SUFFIXES, Form, check_like_first, decoded, form_of
from epsball.errors import InputError, lookup


def open_folder(path: str, *, split: str) -> Dataset:
    """Return the pictures of ``DIR/class/*``, or of ``DIR/{train,test}/class/*`` if both are there.

    Classes are the sorted names of the sub-folders (of both parts together), pictures are sorted
    by name within their class; other files and hidden ones are skipped. Images are uint8
    (n, 1, h, w) or (n, 3, h, w), or of 16-bit grey files float32, all of one size and mode; each is
    checked when it is decoded.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; check the path.")
    parts = [root / "train", root / "test"]
    if not all(part.is_dir() for part in parts):
        return _dataset(root, _class_folders(root), None)
    lookup(dict.fromkeys(("train", "test")), split, f"split of {root}:")
    names = sorted({name for part in parts for name in _class_folders(part)})
    return _dataset(root / split, names, split)


def _dataset(root: Path, names: list[str], split: str | None) -> Dataset:
    files, labels = [], []
    for label, name in enumerate(names):
        pictures = _pictures(root / name) if (root / name).is_dir() else []
        files += pictures
        labels += [label] * len(pictures)
    form = form_of(decoded(files[0], str(files[0])))
    return Dataset(
        read=partial(_read, files, form),
        rows=torch.arange(len(files)),
        labels=torch.tensor(labels),
        positions=torch.arange(len(files)),
        shape=form[0],
        classes=len(names),
        class_names=tuple(names),
        split=split,
    )


def _class_folders(root: Path) -> list[str]:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not names:
        raise InputError(f"{root} has no sub-folders; pictures must lie in one sub-folder per class.")
    return names


def _pictures(folder: Path) -> list[Path]:
    files = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.name[0] != "."]
    if not files:
        inside = [entry.name for entry in folder.iterdir() if entry.is_dir()]
        fix = (
            f"It has sub-folders ({', '.join(sorted(inside)[:3])}): if it is a data set, give its own path."
            if inside
            else "Remove it."
        )
        raise InputError(f"class folder {folder} holds no picture ({', '.join(sorted(SUFFIXES))}). {fix}")
    return sorted(files, key=lambda file: file.name)


def _read(files: list[Path], form: Form, rows: Tensor) -> Tensor:
    images = []
    for row in rows.tolist():
        image = decoded(files[row], str(files[row]))
        check_like_first(image, str(files[row]), form, str(files[0]))
        images.append(image)
    return torch.stack(images)
