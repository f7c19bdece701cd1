import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epsball.data import load
from epsball.errors import InputError

TEST_POSITIONS = load("digits").positions.tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    wanted=st.lists(st.sampled_from(TEST_POSITIONS), min_size=1, max_size=20, unique=True),
    form=st.sampled_from(["txt", "json", "npy", "key"]),
)
def test_indices_name_positions_in_the_order_wanted(wanted: list[int], form: str, tmp_path: Path) -> None:
    file = tmp_path / {"txt": "i.txt", "npy": "i.npy"}.get(form, "i.json")
    if form == "txt":
        file.write_text("\n".join(map(str, wanted)) + "\n\n")
    elif form == "npy":
        np.save(file, np.array(wanted))
    else:
        file.write_text(json.dumps(wanted if form == "json" else {"mine": wanted, "other": [1]}))
    data = load(f"digits,indices={file}" + ("#mine" if form == "key" else ""))
    whole = load("digits")
    assert data.positions.tolist() == wanted
    assert data.labels.tolist() == [whole.labels[TEST_POSITIONS.index(i)] for i in wanted]


@given(first=st.integers(1, 599))
def test_first_takes_the_first(first: int) -> None:
    data = load(f"digits,first={first}")
    assert data.positions.tolist() == TEST_POSITIONS[:first]
    assert data.classes == 10


def test_first_of_indices(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(json.dumps(TEST_POSITIONS[5:0:-1]))
    data = load(f"digits,first=2,indices={tmp_path / 'i.json'}")
    assert data.positions.tolist() == [TEST_POSITIONS[5], TEST_POSITIONS[4]]


@pytest.mark.parametrize("first", ["0", "-1", "600", "1e2", "1_0", "٣", "ten", "9" * 5000, "1.0"])
def test_other_counts_are_refused(first: str) -> None:
    with pytest.raises(InputError, match="it must be an integer from 1 to 599"):
        load(f"digits,first={first}")


a, b = TEST_POSITIONS[:2]


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [
        ("i.txt", f"{a}\nb\n", "invalid literal .*one integer per line"),
        ("i.txt", f"{a}.0", "cannot be read"),
        ("i.txt", f"{a},{b}", "cannot be read"),
        ("i.txt", "", r"holds \[\]; it must be a list of at least one integer"),
        ("i.txt", f"{a}\n{b}\n{a}", rf"names position {a} twice \(entries 0 and 2, from 0\)"),
        (
            "i.txt",
            "0\n-1\n9999999\n",
            r"names 3 positions that the data do not have: 0, -1, 9999999; there are 599",
        ),
        ("i.json", "[1, ", "cannot be read"),
        ("i.json", "[]", r"holds \[\]; it must"),
        ("i.json", f"[{a}.0]", rf"holds {a}\.0; it must be a list"),
        ("i.json", "[true]", "holds True"),
        ("i.json", '["1"]', "holds '1'"),
        ("i.json", "7", "holds 7; it must be a list"),
        (
            "i.json",
            '{"one": [1], "two": [2]}',
            r"holds 2 named lists; choose one with .*i\.json#NAME: one, two",
        ),
    ],
)
def test_files_of_other_content_are_refused(name: str, content: str, fact: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=fact):
        load(f"digits,indices={tmp_path / name}")


@pytest.mark.parametrize("array", [np.array([1.0]), np.array([True]), np.array(3), np.array([[1]])])
def test_arrays_of_other_content_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", array)
    with pytest.raises(InputError, match="it must be a list of at least one integer"):
        load(f"digits,indices={tmp_path / 'i.npy'}")


def test_missing_files_keys_and_binary_junk_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*nowhere"):
        load(f"digits,indices={tmp_path}/nowhere")
    (tmp_path / "i.json").write_text('{"first200": [1]}')
    with pytest.raises(InputError, match=r"unknown list of .*: 'first20'; .* Did you mean 'first200'\?"):
        load(f"digits,indices={tmp_path}/i.json#first20")
    for name in ("i.npy", "i.txt"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x80junk")
        with pytest.raises(InputError, match="cannot be read"):
            load(f"digits,indices={tmp_path / name}")
