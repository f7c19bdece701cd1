import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.data.arrays import dataset_of

X = np.arange(40, dtype=np.float32).reshape(10, 2, 2)
Y = np.arange(10) % 2


@given(cuts=st.lists(st.integers(1, 9), unique=True).map(sorted), rows=st.lists(st.integers(0, 9), min_size=1))
def test_arrays_behind_one_another_read_as_one(cuts: list[int], rows: list[int]) -> None:
    parts = np.split(X, cuts)
    data = dataset_of(parts, Y, where=("x", "y"))
    assert torch.equal(data.take(rows)[0], torch.from_numpy(X[rows]))
    mixed = dataset_of([torch.from_numpy(part) for part in parts], Y, where=("x", "y"))
    assert torch.equal(mixed.take(rows)[0], torch.from_numpy(X[rows]))


def test_what_is_not_said_is_counted() -> None:
    data = dataset_of([X], Y, where=("x", "y"))
    assert (data.classes, data.class_names, data.split, data.absent) == (2, None, None, ())
    assert data.positions.tolist() == list(range(10))
    assert dataset_of([X], Y, where=("x", "y"), classes=7).classes == 7
