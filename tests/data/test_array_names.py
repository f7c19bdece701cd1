from pathlib import Path

import numpy as np
import pytest
import torch

from epsball.data import load
from epsball.data.array_names import find_pair
from epsball.errors import InputError


def found(names: str, split: str = "test", **said: str) -> tuple[str, str, str | None]:
    pair = find_pair(names.split(), split=split, images=said.get("images"), labels=said.get("labels"), where="FILE")
    return pair.images, pair.labels, pair.split


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        ("x y", ("x", "y", None)),
        ("X y feature_names", ("X", "y", None)),
        ("x y images labels x_test y_test", ("x", "y", None)),
        ("images labels", ("images", "labels", None)),
        ("image label", ("image", "label", None)),
        ("data target", ("data", "target", None)),
        ("data labels", ("data", "labels", None)),
        ("arr_0 arr_1", ("arr_0", "arr_1", None)),
        ("x_train y_train x_test y_test", ("x_test", "y_test", "test")),
        ("X_test Y_test", ("X_test", "Y_test", "test")),
        (
            "train_images train_labels val_images val_labels test_images test_labels",
            ("test_images", "test_labels", "test"),
        ),
        ("test_x test_y", ("test_x", "test_y", "test")),
    ],
)
def test_the_usual_pairs_are_found(names: str, pair: tuple[str, str, str | None]) -> None:
    assert found(names) == pair


def test_what_the_user_says_goes_first() -> None:
    assert found("x y z w", images="z", labels="w") == ("z", "w", None)
    assert found("images data labels", images="data") == ("data", "labels", None)
    assert found("x_train y_train x_test y_test", split="train") == ("x_train", "y_train", "train")
    with pytest.raises(InputError, match="unknown array of FILE: 'zz'; known: x, y"):
        found("x y", images="zz")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("images data labels", "several arrays that may be its images: images, data.*images=NAME"),
        ("images labels targets", "several arrays that may be its labels: labels, targets"),
        ("X x y", "several arrays that may be its images: X, x"),
        ("pictures numbers", "has no images and no labels under a usual name; its arrays are pictures, numbers"),
        ("x_train y_train", "unknown split of FILE: 'test'; known: train"),
    ],
)
def test_what_is_ambiguous_or_absent_is_named(names: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        found(names)


def test_names_and_parts_are_said_aloud(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((4, 2, 3), np.float32)
    np.savez(tmp_path / "d.npz", x_test=x, y_test=np.arange(4)[:, None], x_train=x + 1, y_train=np.arange(4.0))
    data = load(f"npz:{tmp_path / 'd.npz'}")
    assert torch.equal(data[:][0], torch.from_numpy(x))
    assert data[:][1].tolist() == [0, 1, 2, 3]
    assert (data.split, data.name) == ("test", f"npz:{tmp_path / 'd.npz'},split=test")
    assert "images are 'x_test', labels 'y_test'" in data.notes[0]
    assert "its one column is taken" in data.notes[1]
    train = load(f"npz:{tmp_path / 'd.npz'},split=train")
    assert train[:][1].tolist() == [0, 1, 2, 3]
    assert "float64 and holds integers" in train.notes[1]
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(4))
    assert load(f"npz:{tmp_path / 'd.npz'}").notes == ()


@pytest.mark.parametrize(
    ("shape", "moved"), [((8, 9, 3), True), ((28, 28, 1), True), ((3, 8, 3), False), ((3, 8, 9), False)]
)
def test_channels_last_are_recognised(shape: tuple[int, ...], moved: bool, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(5))
    data = load(f"npz:{tmp_path / 'd.npz'}")
    right = np.moveaxis(x, -1, 1) if moved else x
    assert data.shape == right.shape[1:]
    assert torch.equal(data[1:4][0], torch.from_numpy(right[1:4].copy()))
    assert data[0:2][0].is_contiguous()
    assert any("has channels last" in note for note in data.notes) == moved
    assert load(f"npz:{tmp_path / 'd.npz'},channels=first").shape == shape
    assert load(f"npz:{tmp_path / 'd.npz'},channels=last").shape == (shape[2], *shape[:2])
    with pytest.raises(InputError, match="unknown place of the channels: 'middle'"):
        load(f"npz:{tmp_path / 'd.npz'},channels=middle")
