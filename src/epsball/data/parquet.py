"""``parquet:PATH``: parquet files with a column of pictures and one of labels; read and decoded on access."""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from epsball.data.checks import as_labels
from epsball.data.dataset import Dataset
from epsball.data.pictures import Form, check_like_first, decoded, form_of
from epsball.data.remote import RemoteFile, reached
from epsball.data.shards import files_of
from epsball.errors import InputError, lookup

if TYPE_CHECKING:
    import pyarrow

File = Path | RemoteFile

_BATCH = 64
"""Pictures that are in memory at a time, encoded."""


def open_parquet(path: str, *, image: str | None = None, label: str | None = None, key: str | None = None) -> Dataset:
    """Return the rows of parquet files, one after the other; the hub's files of pictures have this form.

    Parameters
    ----------
    path
        A folder of ``.parquet`` files, one of them, or a pattern: ``DIR/validation-*.parquet``.
    image, label
        The columns of encoded pictures (binary, or a struct with ``bytes``) and of labels (integers); needed only
        where types do not single them out.
    key
        A column of whole numbers, which are the positions of the examples; without it they count from 0.
    """
    return parquet_dataset(files_of(path, ".parquet", "parquet"), f"parquet:{path}", image, label, key)


def parquet_dataset(
    files: Sequence[File], what: str, image: str | None, label: str | None, key: str | None, split: str | None = None
) -> Dataset:
    """Return the rows of parquet files, here or elsewhere; of the pictures some are in memory while they are read.

    Parameters
    ----------
    files
        The files, in their order.
    what
        What errors call the data.
    image, label, key, split
        As in `open_parquet` and `Dataset`.
    """
    schema = _opened(files[0]).schema_arrow
    fields = {field.name: field.type for field in schema}
    image = _column(fields, image, "image", what, _is_picture)
    label = _column({name: kind for name, kind in fields.items() if name != key}, label, "label", what, _is_integer)
    if key is not None:
        lookup(fields, key, f"column of '{what}':")
    y = as_labels(_numbers(files, label), f"column '{label}' of '{what}'", count=sum(map(_rows, files)))
    names = _class_names(schema.metadata or {}, label)
    reader = _Reader(files, image)
    return Dataset(
        read=reader,
        rows=torch.arange(len(y)),
        labels=y,
        positions=torch.arange(len(y)) if key is None else _keys(files, key, what),
        shape=reader.form[0],
        classes=len(names) if names else int(y.max()) + 1,
        class_names=names,
        split=split,
    )


def _opened(file: File) -> Any:
    import pyarrow
    import pyarrow.parquet

    if isinstance(file, RemoteFile):
        with reached(file.url):
            return pyarrow.parquet.ParquetFile(file.opened(), buffer_size=1 << 20, pre_buffer=False)
    try:
        return pyarrow.parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{file} is not a whole parquet file ({error}); fetch it again.") from error


def _rows(file: File) -> int:
    return _opened(file).metadata.num_rows


def _is_picture(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    binary = types.is_binary(kind) or types.is_large_binary(kind)
    return binary or (types.is_struct(kind) and any(field.name == "bytes" for field in kind))


def _is_integer(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    return types.is_integer(kind)


def _column(fields: dict[str, Any], name: str | None, role: str, what: str, fits: Any) -> str:
    """Return the column that was named, or the only one whose type fits the role."""
    listed = ", ".join(f"{column} ({kind})" for column, kind in fields.items())
    if name is not None:
        lookup(fields, name, f"column of '{what}':")
    fitting = [column for column, kind in fields.items() if name in (None, column) and fits(kind)]
    if len(fitting) != 1:
        raise InputError(
            f"'{what}' has {len(fitting)} columns that may be the {role}; say which with {role}=COLUMN. "
            f"Its columns: {listed}."
        )
    return fitting[0]


def _numbers(files: Sequence[File], column: str) -> np.ndarray:
    """Return a column of whole numbers of all files."""
    parts = []
    try:
        for file in files:
            with reached(str(file)):
                parts.append(_opened(file).read(columns=[column])[column].to_numpy())
    except KeyError as error:
        raise InputError(f"column '{column}' is not in all of {files[0].parent}'s files ({error}).") from error
    return np.concatenate(parts)


def _keys(files: Sequence[File], column: str, what: str) -> Tensor:
    keys = as_labels(found := _numbers(files, column), f"column '{column}' of '{what}', the keys,", count=len(found))
    if len(keys.unique()) < len(keys):
        raise InputError(f"keys occur twice in column '{column}' of '{what}'; every example has its own.")
    return keys


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Return the names of the classes, where the hub's description of the columns has them."""
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][label]
        return tuple(map(str, feature["names"]))
    except (KeyError, ValueError, TypeError):
        return None


def _batches(file: File, group: int, column: str) -> Iterator["pyarrow.RecordBatch"]:
    """Yield a column of a group of rows, a few rows at a time."""
    with reached(str(file)):
        yield from _opened(file).iter_batches(_BATCH, row_groups=[group], columns=[column])


class _Reader:
    """Reads rows of parquet files a few at a time; `form` is that of the first picture."""

    def __init__(self, files: Sequence[File], column: str) -> None:
        self.files, self.column = files, column
        self.groups = [
            (number, group, metadata.row_group(group).num_rows)
            for number, file in enumerate(files)
            for metadata in [_opened(file).metadata]
            for group in range(metadata.num_row_groups)
        ]
        self.starts = [0, *accumulate(rows for *_, rows in self.groups)]
        self.form: Form = form_of(next(self._pictures([0]))[1])

    def __call__(self, rows: Tensor) -> Tensor:
        order = rows.argsort()
        pictures: dict[int, Tensor] = {}
        for row, picture in self._pictures(rows[order].unique().tolist()):
            check_like_first(picture, self._where(row), self.form, self._where(0))
            pictures[row] = picture
        return torch.stack([pictures[row] for row in rows.tolist()])

    def _pictures(self, rows: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield the pictures of ascending rows."""
        by_group: dict[int, list[int]] = {}
        for row in rows:
            by_group.setdefault(bisect_right(self.starts, row) - 1, []).append(row)
        for place, wanted in by_group.items():
            number, group, _ = self.groups[place]
            last, left = self.starts[place], list(reversed(wanted))
            batches = _batches(self.files[number], group, self.column)
            for batch in batches:
                while left and left[-1] < last + len(batch):
                    row = left.pop()
                    yield row, self._decoded(batch.column(0)[row - last].as_py(), row)
                last += len(batch)
                if not left:
                    break

    def _decoded(self, value: Any, row: int) -> Tensor:
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise InputError(f"{self._where(row)} has no bytes of a picture; leave it out with indices=FILE.")
        return decoded(content, self._where(row))

    def _where(self, row: int) -> str:
        number, *_ = self.groups[bisect_right(self.starts, row) - 1]
        return f"row {row} (of all, {self.files[number].name})"
