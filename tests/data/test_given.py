import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from epsball.data import given as given_module
from epsball.data import load
from epsball.errors import InputError

X = np.random.default_rng(1).random((20, 3)).astype(np.float32)
Y = np.arange(20) % 4


class Sliced:
    """Examples behind slices alone; counts the rows read."""

    def __init__(self, x: object = X, y: object = Y, length: int | None = None) -> None:
        self.x, self.y, self.length, self.slices = x, y, length, []

    def __len__(self) -> int:
        return len(self.x) if self.length is None else self.length

    def __getitem__(self, rows: slice) -> tuple[object, object]:
        self.slices.append((rows.start, rows.stop))
        return self.x[rows], self.y[rows]


@pytest.mark.parametrize("pair", [(X, Y), [X, Y], (torch.from_numpy(X), torch.from_numpy(Y)), (X, torch.from_numpy(Y))])
def test_pairs_keep_what_they_hold(pair: object) -> None:
    data = load(pair)
    x, y = data[:]
    assert (len(data), data.shape, data.classes, data.name) == (20, (3,), 4, "(x, y)")
    assert torch.equal(x, torch.from_numpy(X))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert y.tolist() == Y.tolist()


def test_pairs_are_detached_and_a_dataset_is_returned_as_it_is() -> None:
    data = load((torch.zeros(2, 3, requires_grad=True), torch.tensor([0, 1])))
    assert not data[:][0].requires_grad
    assert load(data) is data


def test_read_only_and_strided_arrays_are_copied() -> None:
    frozen = np.broadcast_to(X[:, None, ::-1], (20, 2, 3))
    x, _ = load((frozen, Y))[3:5]
    x += 1
    assert torch.equal(x - 1, torch.from_numpy(frozen[3:5].copy() + 1) - 1)


@given(rows=st.lists(st.integers(0, 19), min_size=1))
def test_objects_are_read_by_slices_in_any_order(rows: list[int]) -> None:
    x, y = load(Sliced()).take(rows)
    assert torch.equal(x, torch.from_numpy(X[rows]))
    assert y.tolist() == Y[rows].tolist()


def test_an_object_is_read_once_to_check_and_then_only_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_module, "_CHUNK", 8)
    source = Sliced()
    data = load(source)
    assert source.slices == [(0, 8), (8, 16), (16, 20)]
    source.slices.clear()
    data.take([4, 5, 6, 11, 2, 3])
    assert source.slices == [(4, 7), (11, 12), (2, 4)]
    assert data.name == "Sliced"


def test_torch_datasets_that_slice_are_objects_too() -> None:
    data = load(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)))
    assert torch.equal(data[2:4][0], torch.from_numpy(X[2:4]))


def test_an_object_that_changes_its_images_is_caught_when_read() -> None:
    source = Sliced(X.copy())
    data = load(source)
    source.x[3, 0] = np.nan
    with pytest.raises(InputError, match=r"Sliced\[3:4\] holds NaN"):
        data[3:4]
    source.x = X.astype(np.float64)
    with pytest.raises(InputError, match=r"is torch\.float64 .* and type torch\.float32, as in the first slice"):
        data[3:4]
    source.x = source.x[:, :2]
    with pytest.raises(InputError, match=r"of shape \(1, 2\); expected 1 images of shape \(3,\)"):
        data[0:1]


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ((X, Y, Y), "a tuple of 3; give a pair"),
        ((X,), "a tuple of 1; give a pair"),
        ((X, Y[:-1]), "y has 19 labels for 20 images"),
        ((X, Y - 1), "label -1 at row 0"),
        ((X.tolist(), Y), "x is of type list"),
        ((X[:, 0], Y), r"x has shape \(20,\)"),
        ((X[:0], Y[:0]), r"x has shape \(0, 3\)"),
        (3, "data of type int cannot be read"),
        (iter([X]), "cannot be read; give a text KIND:PATH"),
        (torch.zeros(2, 2, 3), "is a Tensor; a slice must give a pair"),
        ({"x": X, "y": Y}, r"dict\[0:2\] failed"),
        (Sliced(length=0), "length 0"),
        (Sliced(length=25), r"of shape \(20, 3\); expected 25 images\."),
        (Sliced(y=Y.astype(float)), r"y of Sliced\[0:20\] is float64"),
        (Sliced(x=X.astype(int)), r"x of Sliced\[0:20\] is int64"),
    ],
)
def test_what_is_not_data_is_refused(source: object, fact: str) -> None:
    with pytest.raises(InputError, match=fact):
        load(source)
