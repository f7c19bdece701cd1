"""Rows by position, from every kind of data."""

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import epsball as eb
from epsball.errors import InputError
from epsball.similarity.rows import Rows, shuffled


class Sliced:
    """Has a length and slices, and nothing else."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> tuple[Tensor, Tensor]:
        assert isinstance(rows, slice)
        return self.x[rows], torch.zeros(len(self.x[rows]))


X = torch.arange(60.0).reshape(20, 3)
Y = torch.zeros(20)


@pytest.mark.parametrize(
    "data",
    [X, X.numpy(), (X, Y), [X.numpy(), Y.numpy()], Sliced(X), TensorDataset(X, Y), DataLoader(TensorDataset(X, Y), 7)],
    ids=["tensor", "array", "pair", "list", "sliced", "dataset", "loader"],
)
def test_all_forms_give_the_same_rows(data):
    rows = Rows(data, "data")
    positions = torch.tensor([4, 0, 19, 4])
    assert len(rows) == 20
    assert torch.equal(rows.take(positions), X[positions])


def test_texts_and_data_sets():
    data = eb.data.load("digits,first=9")
    positions = torch.tensor([8, 2])
    for source in (data, "digits,first=9"):
        rows = Rows(source, "data")
        assert len(rows) == 9
        assert torch.equal(rows.take(positions), eb.data.as_pixels(data[:][0])[positions])


def test_pixels_of_8_bit_become_the_shared_centres():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(64, 4)
    found = Rows(pixels, "data").take(torch.arange(64))
    assert torch.equal(found, pixels.float() / 255)


@pytest.mark.parametrize(
    "data",
    [{"x": 1}, None, [], ["a", "b"], torch.tensor(3.0), [X[:, 0]] * 20, (X, Y[:3]), DataLoader([])],  # pyright: ignore[reportArgumentType]
)
def test_data_without_inputs_are_refused(data):
    with pytest.raises(InputError):
        Rows(data, "data").take(torch.arange(1))


def test_the_order_is_a_fixed_permutation_that_leaves_the_generators_alone():
    state = torch.get_rng_state()
    order = shuffled(1000)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert torch.equal(order, shuffled(1000))
    assert torch.equal(torch.get_rng_state(), state)
    blocks = (order.reshape(10, 100) // 100 * 1.0).mean(1)
    assert (blocks - 4.5).abs().max() < 1.5
