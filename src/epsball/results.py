"""What all results share: how they print, and their tables, JSON-ready values and Arrow tables."""

import dataclasses
import html
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from epsball.errors import MissingExtra
from epsball.figures import new_figure as new_figure  # old name, until 0.3
from epsball.figures import png as png  # old name, until 0.3

if TYPE_CHECKING:
    import pandas
    import pyarrow

SCREEN = 40
"""Lines that a result shows of itself where it is not printed in full."""

_LEAST = 5e-5
"""What four decimals still tell from zero."""

HEAD = 10
"""Rows of its table that a result shows in a notebook."""


class Result(ABC):
    """What a verb returns. It prints as text, is a table by `to_arrow`, and shows itself in a notebook.

    A result is a frozen dataclass with ``repr=False``: its fields may be tensors of any size.
    """

    @abstractmethod
    def __str__(self) -> str:
        """Return the result as text, complete."""

    @abstractmethod
    def to_arrow(self) -> "pyarrow.Table":
        """Return the result as an Arrow table."""

    @abstractmethod
    def to_json(self) -> Mapping[str, object]:
        """Return the result made of JSON's types."""

    def __repr__(self) -> str:
        """Return the text, cut to one screen."""
        lines = str(self).splitlines()
        if len(lines) > SCREEN:
            lines = [*lines[: SCREEN - 1], f"... ({len(lines) - SCREEN + 1} more lines: print(result) shows all)"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the text, and the first rows of the table folded beneath it."""
        table = self.to_arrow()
        head = table.slice(0, HEAD)
        names = "".join(f"<th>{html.escape(name)}</th>" for name in table.column_names)
        rows = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in _rows(head))
        return (
            f"<pre>{html.escape(repr(self))}</pre>"
            f"<details><summary>{len(head)} of {len(table)} rows</summary>"
            f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></details>"
        )

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as a pandas data frame.

        Raises
        ------
        MissingExtra
            If pandas is not installed.
        """
        try:
            import pandas  # noqa: F401
        except ImportError as error:
            raise MissingExtra("pandas", "pandas", "to_pandas") from error
        return self.to_arrow().to_pandas()

    def to_csv(self) -> str:
        """Return the table as comma-separated text with a header; what is not known is empty."""
        from pyarrow import csv

        sink = io.BytesIO()
        csv.write_csv(self.to_arrow(), sink, csv.WriteOptions(quoting_style="needed"))
        return sink.getvalue().decode()

    def to_markdown(self) -> str:
        """Return the table in Markdown, numbers to the right."""
        table = self.to_arrow()
        layout = ["---:" if _is_number(field.type) else "---" for field in table.schema]
        rows = [
            [format_cell(value).replace("|", r"\|") for value in row] for row in (table.column_names, *_rows(table))
        ]
        header, *body = (f"| {' | '.join(row)} |" for row in rows)
        return "\n".join([header, f"| {' | '.join(layout)} |", *body, ""])

    def to_latex(self) -> str:
        """Return the table as a LaTeX tabular with the rules of the package booktabs."""
        table = self.to_arrow()
        layout = "".join("r" if _is_number(field.type) else "l" for field in table.schema)
        header, *rows = (
            " & ".join(_latex(format_cell(value)) for value in row) + r" \\"
            for row in (table.column_names, *_rows(table))
        )
        lines = [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", header, r"\midrule", *rows, r"\bottomrule"]
        return "\n".join([*lines, r"\end{tabular}", ""])


def _rows(table: "pyarrow.Table") -> Iterator[tuple[object, ...]]:
    return zip(*table.to_pydict().values(), strict=True)


def _html_cell(value: object) -> str:
    return f"<td>{html.escape(format_cell(value))}</td>"


_LATEX = {character: rf"\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    "^": r"\textasciicircum{}",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _is_number(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind)


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
    """Return a table cell: floats with four decimals, None as a dash.

    A small float that is not zero, as the p-value of a clear difference is, does not read as zero.

    Examples
    --------
    >>> [format_cell(value) for value in (0.25, 3e-9, -3e-9, 0.0, None)]
    ['0.2500', '< 0.0001', '> -0.0001', '0.0000', '-']
    """
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if 0 < abs(value) < _LEAST:
        return "< 0.0001" if value > 0 else "> -0.0001"
    return f"{value:.4f}"


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
