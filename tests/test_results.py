import json
import math
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.results import arrow_table, format_cell, jsonable, new_figure, text_table


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
