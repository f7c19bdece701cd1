"""What all results share: plain tables, JSON-ready values, Arrow tables and figures."""

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an aligned plain-text table; numbers stand to the right, texts to the left."""
    cells = [[format_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    right = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(header))]

    def line(texts: Sequence[str]) -> str:
        parts = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(texts, widths, right, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, cells)])


def format_cell(value: object) -> str:
    """Return a table cell: floats with four decimals, None as a dash."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def jsonable(value: Any) -> Any:
    """Return `value` made of JSON's types: tensors as lists, NaN and infinities as null."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Fraction | Path):
        return str(value)
    return value


def arrow_table(columns: Mapping[str, Any]) -> "pyarrow.Table":
    """Return an Arrow table of named columns: tensors, arrays, or lists of texts.

    NaN and None become null; a list is a column of texts even where all of it is None, so that
    tables of the same columns can be joined.
    """
    import pyarrow

    def column(values: Any) -> "pyarrow.Array":
        if isinstance(values, list | tuple):
            texts = all(value is None or isinstance(value, str) for value in values)
            return pyarrow.array(values, type=pyarrow.string() if texts else None)
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        return pyarrow.array(array, from_pandas=True)

    return pyarrow.table({name: column(values) for name, values in columns.items()})


def arrow_bytes(table: "pyarrow.Table") -> bytes:
    """Return an Arrow table as the content of an Arrow file."""
    import pyarrow

    sink = io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def new_figure(width: float = 6.4, height: float = 4.0) -> "Figure":
    """Return an empty matplotlib figure (inches) that belongs to no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120, format="png")
    return buffer.getvalue()
