import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.data import Dataset, as_pixels, dataset, load
from epsball.errors import InputError
from epsball.pixels import from_8bit

X = torch.arange(9 * 6, dtype=torch.uint8).reshape(9, 1, 2, 3)
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
ends = st.none() | st.integers(-12, 12)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load((X, Y))


@given(start=ends, stop=ends, step=st.none() | st.integers(1, 9) | st.integers(-9, -1))
def test_slices_are_those_of_the_arrays(data: Dataset, start: int | None, stop: int | None, step: int | None) -> None:
    x, y = data[start:stop:step]
    assert torch.equal(x, torch.from_numpy(X.numpy()[start:stop:step].copy()))
    assert torch.equal(y, torch.from_numpy(Y.numpy()[start:stop:step].copy()))


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
@given(indices=st.lists(st.integers(0, 8), max_size=12))
def test_take_accepts_any_order_and_repetition(data: Dataset, kind: type, indices: list[int]) -> None:
    x, y = data.take(kind(indices))
    assert torch.equal(x, X[indices])
    assert torch.equal(y, Y[indices])


@given(indices=st.lists(st.integers(0, 8), min_size=1, max_size=9), inner=st.data())
def test_only_keeps_positions_through_nesting(data: Dataset, indices: list[int], inner: st.DataObject) -> None:
    again = inner.draw(st.lists(st.integers(0, len(indices) - 1), min_size=1))
    part = data.only(indices).only(again)
    assert part.positions.tolist() == [indices[i] for i in again]
    assert torch.equal(part[:][0], X[part.positions])
    assert torch.equal(part[:][1], Y[part.positions])
    assert (part.classes, part.shape) == (data.classes, data.shape)


def test_what_is_read_is_a_copy(data: Dataset) -> None:
    x, y = data[:]
    x += 1
    y += 1
    assert torch.equal(data[:][0], X)
    assert torch.equal(data[:][1], Y)


def test_a_part_no_longer_bears_the_name_of_the_whole(data: Dataset) -> None:
    assert data.only([1, 2]).name == "2 of (x, y)"
    assert repr(data) == "(x, y): 9 examples of shape (1, 2, 3), 3 classes"


@pytest.mark.parametrize("indices", [[0.5], [True], [[1]], [9], [-1], ["a"]])
def test_wrong_indices_are_refused(data: Dataset, indices: list[object]) -> None:
    with pytest.raises(InputError, match="indices"):
        data.take(indices)


def test_an_empty_part_is_refused_and_a_single_index_explained(data: Dataset) -> None:
    with pytest.raises(InputError, match="at least one example"):
        data.only([])
    with pytest.raises(InputError, match=r"indexed with 3; write data\[i:j\]"):
        data[3]


def test_fingerprint_depends_on_content_alone(data: Dataset) -> None:
    same = load((X.numpy().copy(), Y.to(torch.int32)))
    assert same.fingerprint() == data.fingerprint()
    prefix, digest = data.fingerprint().split(":")
    assert prefix == "sha256"
    assert len(digest) == hashlib.sha256().digest_size * 2


def test_fingerprint_sees_every_change(data: Dataset) -> None:
    darker = X.clone()
    darker[8, 0, 1, 2] -= 1
    relabelled = Y.clone()
    relabelled[4] = 0
    variants = [
        load((darker, Y)),
        load((X, relabelled)),
        load((X.float(), Y)),
        load((X.double(), Y)),
        load((X.reshape(9, 6), Y)),
        load((X.flip(0), Y)),
        data.only(range(8)),
        data.only([1, 0, *range(2, 9)]),
        load((X.roll(1, 0), Y.roll(1, 0))),
    ]
    prints = [data.fingerprint(), *(variant.fingerprint() for variant in variants)]
    assert len(set(prints)) == len(prints)


def test_fingerprint_of_large_data_says_how_many_images_it_covers(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "_WHOLE", 8 * 6)
    monkeypatch.setattr(dataset, "_SAMPLE", 3)
    seen, unseen = X.clone(), X.clone()
    seen[8] += 1
    unseen[1] += 1
    sampled = data.fingerprint()
    assert sampled.startswith("sha256-of-3-images:")
    assert load((unseen, Y)).fingerprint() == sampled
    assert load((seen, Y)).fingerprint() != sampled
    assert load((unseen, Y.flip(0))).fingerprint() != sampled


def test_fingerprint_does_not_depend_on_chunks(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = data.fingerprint()
    monkeypatch.setattr(dataset, "_CHUNK", 1)
    assert data.fingerprint() == whole


def test_as_pixels() -> None:
    k = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert torch.equal(as_pixels(k), from_8bit(k))
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = torch.tensor([[0.1, -3.0, math.pi]], dtype=dtype)
        assert as_pixels(x) is x
    with pytest.raises(InputError, match=r"torch\.int64"):
        as_pixels(torch.zeros(1, dtype=torch.int64))
