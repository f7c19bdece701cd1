import json
import math
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import MissingExtra
from epsball.results import HEAD, SCREEN, Result, arrow_table, format_cell, jsonable, new_figure, text_table


@dataclass(frozen=True)
class Inner:
    radius: Fraction
    values: torch.Tensor


def test_table_aligns_numbers_right_and_texts_left() -> None:
    table = text_table(["link", "value"], [["natural", 0.5], ["attack", None], ["n", 12]])
    assert table.split("\n") == [
        "link      value",
        "-------  ------",
        "natural  0.5000",
        "attack        -",
        "n            12",
    ]


def test_table_without_rows_is_its_header() -> None:
    assert text_table(["a", "bc"], []).split("\n") == ["a  bc", "-  --"]


def test_cells() -> None:
    assert [format_cell(value) for value in (None, 1, 0.12345, "x", True)] == [
        "-",
        "1",
        "0.1235",
        "x",
        "True",
    ]


def test_jsonable_reaches_into_everything() -> None:
    value = {
        1: Inner(radius=Fraction(8, 255), values=torch.tensor([1.0, math.nan, math.inf], requires_grad=True)),
        "array": np.array([[1, 2]], dtype=np.uint8),
        "scalar": np.float32(0.5),
        "path": Path("a/b"),
        "nested": (torch.tensor(3), [True, None, -math.inf]),
    }
    assert jsonable(value) == {
        "1": {"radius": "8/255", "values": [1.0, None, None]},
        "array": [[1, 2]],
        "scalar": 0.5,
        "path": "a/b",
        "nested": [3, [True, None, None]],
    }


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.fractions()


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_jsonable_values_survive_strict_json(value: object) -> None:
    ready = jsonable(value)
    assert json.loads(json.dumps(ready, allow_nan=False)) == ready
    assert jsonable(ready) == ready


def test_arrow_table_keeps_types() -> None:
    table = arrow_table({"index": torch.arange(3), "margin": np.float32([1, 2, 3]), "verdict": ["a", "b", None]})
    assert [str(field.type) for field in table.schema] == ["int64", "float", "string"]
    assert table.to_pylist()[2] == {"index": 2, "margin": 3.0, "verdict": None}


def test_figure_belongs_to_no_global_state() -> None:
    from matplotlib import _pylab_helpers

    figure = new_figure(3.0, 2.0)
    assert tuple(figure.get_size_inches()) == (3.0, 2.0)
    assert _pylab_helpers.Gcf.figs == {}


def test_importing_results_imports_neither_arrow_nor_matplotlib() -> None:
    code = "import sys, epsball.results; print(sorted({'pyarrow', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@dataclass(frozen=True, kw_only=True, repr=False)
class Curve(Result):
    """A result of n rows."""

    n: int

    def __str__(self) -> str:
        return text_table(["radius", "method"], [[i / 4, "a_b & <c>"] for i in range(self.n)])

    def to_arrow(self):
        return arrow_table({"radius": [i / 4 for i in range(self.n)], "by_method": ["a_b & <c>"] * self.n})

    def to_json(self) -> dict[str, object]:
        return jsonable(self)


def test_a_result_shows_at_most_one_screen_of_itself() -> None:
    assert repr(Curve(n=3)) == str(Curve(n=3))
    lines = repr(Curve(n=500)).splitlines()
    assert len(lines) == SCREEN
    assert lines[-1] == f"... ({502 - SCREEN + 1} more lines: print(result) shows all)"


def test_a_notebook_shows_the_text_and_the_first_rows_escaped() -> None:
    shown = Curve(n=500)._repr_html_()
    assert shown.count("<td>") == 2 * HEAD
    assert f"{HEAD} of 500 rows" in shown
    assert "a_b &amp; &lt;c&gt;" in shown
    assert "<c>" not in shown


def test_a_result_is_a_data_frame_and_comma_separated_text_of_its_table() -> None:
    frame = Curve(n=3).to_pandas()
    assert list(frame.columns) == ["radius", "by_method"]
    assert frame["radius"].tolist() == [0.0, 0.25, 0.5]
    assert Curve(n=2).to_csv().splitlines() == ['"radius","by_method"', '0,"a_b & <c>"', '0.25,"a_b & <c>"']


def test_a_data_frame_without_pandas_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"epsball\[pandas\]"):
        Curve(n=1).to_pandas()


def test_a_result_is_a_table_in_markdown():
    assert Curve(n=2).to_markdown().splitlines() == [
        "| radius | by_method |",
        "| ---: | --- |",
        "| 0.0000 | a_b & <c> |",
        "| 0.2500 | a_b & <c> |",
    ]


def test_latex_is_a_tabular_with_numbers_to_the_right_and_its_special_characters_escaped() -> None:
    assert Curve(n=2).to_latex().splitlines() == [
        r"\begin{tabular}{rl}",
        r"\toprule",
        r"radius & by\_method \\",
        r"\midrule",
        r"0.0000 & a\_b \& <c> \\",
        r"0.2500 & a\_b \& <c> \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@dataclass(frozen=True, repr=False)
class Small(Result):
    value: float

    def __str__(self) -> str:
        return str(self.value)

    def to_arrow(self) -> "pyarrow.Table":
        return arrow_table({"p": np.array([self.value])})

    def to_json(self) -> dict[str, object]:
        return {"p": self.value}


def test_a_tiny_number_does_not_read_as_zero_in_any_table() -> None:
    small = Small(value=3e-9)
    for text in (small.to_markdown(), small.to_latex(), text_table(("p",), [(3e-9,)])):
        assert "0.0001" in text
        assert "0.0000" not in text
    assert r"\textless{} 0.0001" in small.to_latex()
    assert text_table(("p",), [(0.0,)]).endswith("0.0000")
