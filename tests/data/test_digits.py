import numpy as np
import pytest
import torch

from epsball.data import load
from epsball.errors import InputError


def test_digits_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.datasets").load_digits()
    for split in ("train", "test"):
        data = load("digits", split=split)
        x, y = data[:]
        assert torch.equal(x.double() * 16, torch.from_numpy(sklearn.images[data.positions, None]))
        assert np.array_equal(y, sklearn.target[data.positions])


def test_parts_are_disjoint_complete_and_stratified() -> None:
    train, test = load("digits,split=train"), load("digits,split=test")
    assert (len(train), len(test)) == (1198, 599)
    assert sorted([*train.positions.tolist(), *test.positions.tolist()]) == list(range(1797))
    counts = [part.labels.bincount(minlength=10).double() for part in (train, test)]
    assert ((counts[1] - (counts[0] + counts[1]) / 3).abs() < 1).all()
    assert (train.positions.diff() > 0).all()


def test_face() -> None:
    data = load("digits")
    x, _ = data[:]
    assert (data.shape, data.classes, data.split, data.class_names) == (
        (1, 8, 8),
        10,
        "test",
        tuple("0123456789"),
    )
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (0, 1)


def test_a_path_is_refused() -> None:
    with pytest.raises(InputError, match="'digits:folder' names a path"):
        load("digits:folder")
