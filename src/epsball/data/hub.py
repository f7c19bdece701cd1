"""``hf:NAME``: a Hugging Face data set, from the hub or from a local folder (extra ``hf``)."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from epsball.data.checks import as_labels
from epsball.data.dataset import Dataset
from epsball.data.parquet import parquet_dataset
from epsball.data.pictures import Form, check_like_first, form_of, to_tensor
from epsball.data.remote import RemoteFile
from epsball.errors import InputError, MissingExtra, lookup

if TYPE_CHECKING:
    import datasets

_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
_ROLES = {"image": ["Image"], "label": ["ClassLabel", *_INTEGERS]}


def open_hub(
    path: str,
    *,
    split: str,
    config: str | None = None,
    image: str | None = None,
    label: str | None = None,
    key: str | None = None,
    streaming: str = "no",
    revision: str | None = None,
) -> Dataset:
    """Return one split of a Hugging Face data set; its pictures are decoded on access.

    Parameters
    ----------
    path
        A folder written by ``save_to_disk`` or one of parquet files, if there is such a folder;
        else a name on the hub, which the ``datasets`` library fetches and keeps in its cache.
    split
        One of the splits it has; without meaning for a folder that has no splits.
    config
        The configuration, for names that have several.
    image, label
        The columns, needed only where the types of the columns do not single them out.
    key
        With ``streaming=yes``, a column of whole numbers, which are the positions of the examples; without it they
        count from 0, in the order of the split.
    streaming
        ``yes``: nothing is kept on disk. Labels are read once, pictures by ranges of the parquet files on the hub.
    revision
        A branch, tag or commit of the repository; ``refs/convert/parquet`` is where the hub keeps parquet files of
        data sets that are stored otherwise.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("hf", "datasets", "data of kind 'hf'") from error
    if revision is not None and Path(path).expanduser().is_dir():
        raise InputError(f"revision is '{revision}', but {path} is a folder, which has none; leave it out.")
    if lookup({"yes": True, "no": False}, streaming, "streaming of hf:"):
        return _streamed(path, split, config, revision, (image, label, key))
    if key is not None:
        raise InputError(f"key is '{key}', but 'hf:{path}' is not streamed; add streaming=yes, or leave it out.")
    try:
        source = _open(path, config, revision)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"'hf:{path}' cannot be opened ({type(error).__name__}: {str(error).partition(chr(10))[0]}); "
            "NAME is a data set of the hub, or a folder of parquet files or one written by save_to_disk."
        ) from error
    if isinstance(source, datasets.Dataset):
        return _dataset(source, None, path, image, label)
    parts = {str(name): part for name, part in source.items()}
    return _dataset(lookup(parts, split, f"split of '{path}':"), split, path, image, label)


def _streamed(
    path: str, split: str, config: str | None, revision: str | None, columns: tuple[str | None, str | None, str | None]
) -> Dataset:
    """Return the rows of a split's parquet files, read where they are."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(path, config, revision=revision)
        parts = {str(name): list(map(str, urls)) for name, urls in (builder.config.data_files or {}).items()}
    except Exception as error:
        raise InputError(
            f"'hf:{path}' cannot be opened ({type(error).__name__}: {str(error).partition(chr(10))[0]}); "
            "NAME is a data set of the hub, or a folder with the same layout."
        ) from error
    urls = lookup(parts, split, f"split of '{path}':")
    others = [url for url in urls if not url.endswith(".parquet")]
    if others:
        raise InputError(
            f"'hf:{path}' is stored as {others[0].rpartition('/')[2]}, and parquet files are streamed only; add "
            "revision=refs/convert/parquet, where the hub keeps such files, or leave streaming out."
        )
    image, label, key = columns
    return parquet_dataset([RemoteFile(url) for url in urls], f"hf:{path}", image, label, key, split)


def _open(path: str, config: str | None, revision: str | None) -> "datasets.Dataset | datasets.DatasetDict":
    import datasets

    folder = Path(path).expanduser()
    if not folder.is_dir():
        if path.startswith(("/", ".", "~")):
            raise InputError(f"there is no folder {folder}; check the path.")
        return datasets.load_dataset(path, config, revision=revision)
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return datasets.load_from_disk(str(folder))
    for kind in ("parquet", "arrow"):
        if any(folder.rglob(f"*.{kind}")):
            return datasets.load_dataset(kind, data_dir=str(folder))
    raise InputError(
        f"{folder} holds no parquet or arrow files and was not written by save_to_disk; "
        "for folders of pictures write 'folder:DIR'."
    )


def _dataset(source: "datasets.Dataset", split: str | None, path: str, image: str | None, label: str | None) -> Dataset:
    image = _column(source, image, "image", path)
    label = _column(source, label, "label", path)
    if len(source) == 0:
        raise InputError(f"'hf:{path}' has no rows; choose another split.")
    names = getattr(source.features[label], "names", None)
    values = np.asarray(source.select_columns([label]).with_format("numpy")[:][label])
    y = as_labels(values, f"column '{label}' of 'hf:{path}'", count=len(source), classes=names and len(names))
    form = form_of(_decode(source, [0], image, path)[0])
    return Dataset(
        read=partial(_read, source, image, path, form),
        rows=torch.arange(len(source)),
        labels=y,
        positions=torch.arange(len(source)),
        shape=form[0],
        classes=len(names) if names else int(y.max()) + 1,
        class_names=tuple(names) if names else None,
        split=split,
    )


def _type(feature: Any) -> str:
    """Return what a column holds: Image, ClassLabel, int64, string, ..."""
    name = type(feature).__name__
    return str(feature.dtype) if name == "Value" else name


def _column(source: "datasets.Dataset", name: str | None, role: str, path: str) -> str:
    """Return the column given by an option, or the only one whose type fits the role."""
    types = {column: _type(feature) for column, feature in source.features.items()}
    listed = ", ".join(f"{column} ({kind})" for column, kind in types.items())
    first_choice, *others = _ROLES[role]
    if name is not None:
        if lookup(types, name, f"column of 'hf:{path}':") not in _ROLES[role]:
            raise InputError(
                f"column '{name}' of 'hf:{path}' is of type {types[name]}; the {role} must be of type "
                f"{first_choice}. Its columns: {listed}. Cast it with datasets' cast_column."
            )
        return name
    fitting = [c for c, kind in types.items() if kind == first_choice]
    fitting = fitting or [c for c, kind in types.items() if kind in others]
    if len(fitting) != 1:
        raise InputError(
            f"'hf:{path}' has {len(fitting)} columns that may be the {role}; "
            f"say which with {role}=COLUMN. Its columns: {listed}."
        )
    return fitting[0]


def _decode(source: "datasets.Dataset", rows: list[int], image: str, path: str) -> list[Tensor]:
    try:
        pictures = source[rows][image]
    except Exception as error:
        raise InputError(
            f"a picture among rows {rows[0]}..{rows[-1]} of 'hf:{path}' cannot be decoded ({error}); "
            "mend the data set or leave it out with indices=FILE."
        ) from error
    if None in pictures:
        raise InputError(f"{_row(rows[pictures.index(None)], path)} has no picture; leave it out with indices=FILE.")
    return [to_tensor(picture, _row(row, path)) for row, picture in zip(rows, pictures, strict=True)]


def _read(source: "datasets.Dataset", image: str, path: str, form: Form, rows: Tensor) -> Tensor:
    numbers = rows.tolist()
    images = _decode(source, numbers, image, path)
    for number, picture in zip(numbers, images, strict=True):
        check_like_first(picture, _row(number, path), form, _row(0, path))
    return torch.stack(images)


def _row(number: int, path: str) -> str:
    return f"row {number} of 'hf:{path}'"
