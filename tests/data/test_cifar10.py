import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from epsball.data import IncompleteData, load
from epsball.data.cifar10 import CLASSES
from epsball.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 60, dtype=np.uint8)
ROWS = {**{f"data_batch_{k}": slice(10 * k - 10, 10 * k) for k in range(1, 6)}, "test_batch": slice(50, 60)}


def binary(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
    (folder / f"{name}.bin").write_bytes(records.tobytes())


def python(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    batch = {b"data": images.reshape(len(images), -1), b"labels": labels.tolist(), b"batch_label": b"test"}
    (folder / name).write_bytes(pickle.dumps(batch, 2))


def npz(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    first = 0 if name == "test_batch" else 10_000 * (int(name[-1]) - 1)
    index = np.arange(first, first + len(images), dtype=np.uint16)
    stem = name.replace("data_batch", "train_batch").removesuffix("_batch")
    np.savez_compressed(folder / f"cifar10_{stem}.npz", images=images, labels=labels, index=index)


FORMS = [binary, python, npz]


def write(folder: Path, form: Callable[..., None], names: list[str]) -> str:
    for name in names:
        form(folder, name, IMAGES[ROWS[name]], LABELS[ROWS[name]])
    return f"cifar10:{folder}"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_alike(form: Callable[..., None], tmp_path: Path) -> None:
    text = write(tmp_path, form, list(ROWS))
    with pytest.warns(IncompleteData, match="lack 49950 positions"):
        train = load(text, split="train")
    with pytest.warns(IncompleteData, match="lack 9990 positions"):
        test = load(text)
    assert torch.equal(torch.cat([train[:][0], test[:][0]]), torch.from_numpy(IMAGES))
    assert torch.cat([train[:][1], test[:][1]]).tolist() == LABELS.tolist()
    assert train.positions.tolist() == [10_000 * k + i for k in range(5) for i in range(10)]
    assert (train.shape, train.classes, train.class_names) == ((3, 32, 32), 10, CLASSES)
    x, y = train.take([49, 0, 23])
    assert torch.equal(x, torch.from_numpy(IMAGES[[49, 0, 23]]))
    assert y.tolist() == LABELS[[49, 0, 23]].tolist()


@pytest.mark.parametrize("form", FORMS)
def test_absent_batches_keep_official_positions_and_are_said(form: Callable[..., None], tmp_path: Path) -> None:
    text = write(tmp_path, form, ["data_batch_2", "data_batch_5"])
    with pytest.warns(IncompleteData, match=r"lack 49980 positions .* \(0, 1, 2, 3, 4, \.\.\.\); 20 examples"):
        data = load(text, split="train")
    assert data.positions.tolist() == [*range(10_000, 10_010), *range(40_000, 40_010)]
    with pytest.raises(InputError, match="no CIFAR-10 test files"):
        load(text)


def test_only_a_selection_that_passes_over_absent_images_warns(tmp_path: Path) -> None:
    text = write(tmp_path, npz, ["test_batch"])
    (tmp_path / "positions.txt").write_text("9\n0\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(f"{text},first=10").positions.tolist() == list(range(10))
        assert load(f"{text},indices={tmp_path}/positions.txt").positions.tolist() == [9, 0]
    index = np.array([0, 1, 5, 6, 7])
    np.savez(tmp_path / "cifar10_test.npz", images=IMAGES[:5], labels=LABELS[:5], index=index)
    with pytest.warns(IncompleteData, match=r"lack 3 positions .* \(2, 3, 4\); 3 examples"):
        load(f"{text},first=3")
    with pytest.raises(InputError, match=r"1 positions that the data do not have: 9; there are 5, from 0 to 7"):
        load(f"{text},indices={tmp_path}/positions.txt")


def test_the_first_form_found_is_taken(tmp_path: Path) -> None:
    binary(tmp_path, "test_batch", IMAGES[:2], LABELS[:2])
    python(tmp_path, "test_batch", IMAGES[:3], LABELS[:3])
    npz(tmp_path, "test_batch", IMAGES[:4], LABELS[:4])
    for name, count in (("test_batch.bin", 2), ("test_batch", 3), ("cifar10_test.npz", 4)):
        assert len(load(f"cifar10:{tmp_path},first={count}")) == count
        with pytest.raises(InputError, match=f"from 1 to {count}"):
            load(f"cifar10:{tmp_path},first={count + 1}")
        (tmp_path / name).unlink()


def test_binary_batches_are_mapped(tmp_path: Path) -> None:
    records = np.memmap(tmp_path / "test_batch.bin", np.uint8, "w+", shape=(3, 3073))
    records[:, 0] = [1, 2, 3]
    records.flush()
    data = load(f"cifar10:{tmp_path},first=3")
    records[1, 1:] = 77
    records.flush()
    assert (data[1:2][0] == 77).all()
    assert (data[2:3][0] == 0).all()


@pytest.mark.parametrize("form", FORMS)
def test_labels_beyond_ten_classes_are_located(form: Callable[..., None], tmp_path: Path) -> None:
    form(tmp_path, "test_batch", IMAGES[:3], np.array([0, 10, 1], np.uint8))
    with pytest.raises(InputError, match=r"labels in .*test.* label 10 at row 1 .* 0\.\.9"):
        load(f"cifar10:{tmp_path}")


@pytest.mark.parametrize("size", [0, 3072, 3074, 3073 * 2 - 1])
def test_binary_batches_of_other_sizes_are_refused(size: int, tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(size))
    with pytest.raises(InputError, match=f"has {size} bytes; .* records of 3073 bytes"):
        load(f"cifar10:{tmp_path}")


@pytest.mark.parametrize(
    ("batch", "fact"),
    [
        ({"data": IMAGES[:2].reshape(2, -1)}, r"has no labels; it has data\."),
        ({}, "has no data and no labels; it has nothing"),
        ({"data": IMAGES[:2], "labels": [0, 1]}, r"uint8 \(2, 3, 32, 32\); CIFAR-10 has uint8 \(n, 3072\)"),
        ({"data": IMAGES[:2].reshape(2, -1).astype(int), "labels": [0, 1]}, r"is int64 \(2, 3072\)"),
        ({"data": IMAGES[:2].reshape(2, -1), "labels": [0]}, "has 1 labels for 2 images"),
        ({"data": IMAGES[:2].reshape(2, -1), "labels": [0, "1"]}, "labels in .* is not a plain array"),
        ({"data": IMAGES[:0].reshape(0, 3072), "labels": []}, "at least one example"),
    ],
)
def test_python_batches_of_other_content_are_refused(batch: dict, fact: str, tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(InputError, match=fact):
        load(f"cifar10:{tmp_path}")


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"index": np.array([0, 1, 1])}, "reaches from 0 to 1 with 2 different values for 3 images"),
        ({"index": np.array([0, 1, 10_000])}, r"from 0 to 10000 .* 0\.\.9999"),
        ({"index": np.array([0, -1, 1])}, "label -1|label"),
        ({"index": np.array([0, 1])}, "index in .* has 2 labels for 3 images"),
        (
            {"images": IMAGES[:3].transpose(0, 2, 3, 1)},
            r"\(3, 32, 32, 3\); CIFAR-10 has uint8 \(n, 3, 32, 32\)",
        ),
        ({"images": IMAGES[:3].astype(np.float32)}, "are float32"),
        ({"images": IMAGES[:0], "labels": LABELS[:0], "index": np.arange(0)}, "at least one example"),
    ],
)
def test_npz_batches_of_other_content_are_refused(change: dict, fact: str, tmp_path: Path) -> None:
    arrays = {"images": IMAGES[:3], "labels": LABELS[:3], "index": np.arange(3), **change}
    np.savez(tmp_path / "cifar10_test.npz", **arrays)
    with pytest.raises(InputError, match=fact):
        load(f"cifar10:{tmp_path}")


def test_a_batch_of_more_than_ten_thousand_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "test_batch.bin").open("wb") as file:
        file.truncate(3073 * 10_001)
    with pytest.raises(InputError, match="has 10001 images; a CIFAR-10 batch has at most 10000"):
        load(f"cifar10:{tmp_path}")


def test_missing_folders_are_named(tmp_path: Path) -> None:
    looked = r"looked for test_batch\.bin, test_batch, cifar10_test\.npz"
    with pytest.raises(InputError, match=rf"\(the folder is there\); {looked}"):
        load(f"cifar10:{tmp_path}")
    with pytest.raises(InputError, match=rf"\(there is no such folder\); {looked}"):
        load(f"cifar10:{tmp_path}/nowhere")


def test_the_published_test_images(shared: Path) -> None:
    folder = shared / "data" / "cifar10"
    with pytest.warns(IncompleteData, match=r"lack 20 positions .* \(1259, 1369, "):
        data = load(f"cifar10:{folder}")
    missing = [int(line) for line in (folder / "missing_test.txt").read_text().split()]
    assert sorted({*data.positions.tolist(), *missing}) == list(range(10_000))
    assert data[:10][1].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    indices = shared / "models" / "abcrown" / "subset_test_indices.json"
    subset = load(f"cifar10:{folder},indices={indices}#sdp_cifar_200")
    assert subset.positions[:3].tolist() == [9246, 7444, 9232]
    row = (data.positions == 7444).nonzero()[0, 0]
    assert torch.equal(subset[1:2][0], data[row : row + 1][0])
