import numpy as np
import pytest
import torch

from epsball.data import checks
from epsball.data.checks import as_labels, check_images
from epsball.errors import InputError

GOOD = np.zeros((4, 1, 2, 2), np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32", "float64"])
def test_images_of_every_stored_type_pass(dtype: str) -> None:
    x = torch.ones(3, 2, 2).to(getattr(torch, dtype))
    check_images(x, "x")
    if dtype != "bfloat16":
        check_images(x.numpy(), "x")
    assert x.dtype == getattr(torch, dtype)


@pytest.mark.parametrize(
    ("x", "fact"),
    [
        ([[1.0]], "x is of type list"),
        (GOOD.astype(np.int64), "x is int64; images are uint8"),
        (GOOD.astype(bool), "x is bool"),
        (GOOD.astype(">f4"), "x is >f4"),
        (GOOD.astype(complex), "x is complex128"),
        (torch.zeros(3, 2, dtype=torch.int32), r"x is torch\.int32"),
        (np.zeros(4, np.float32), r"x has shape \(4,\); it must be \(n, \*shape\)"),
        (GOOD[:0], r"x has shape \(0, 1, 2, 2\)"),
        (GOOD[:, :, :0], r"x has shape \(4, 1, 0, 2\)"),
    ],
)
def test_what_is_not_an_image_is_refused(x: object, fact: str) -> None:
    with pytest.raises(InputError, match=fact):
        check_images(x, "x")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_that_are_not_finite_are_located(value: float, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_CHUNK", 20)
    x = GOOD.astype(dtype)
    x[2, 0, 1, 0] = value
    for held in (x, torch.from_numpy(x)):
        with pytest.raises(InputError, match="NaN or infinity, first at row 2"):
            check_images(held, "x")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_every_integer_type_become_int64(dtype: str) -> None:
    y = np.array([0, 2, 1], dtype)
    for held in (y, torch.from_numpy(y)):
        labels = as_labels(held, "y", count=3, classes=3)
        assert labels.dtype == torch.int64
        assert labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("y", "fact"),
    [
        ([0, 1, 2], "y is of type list"),
        (np.eye(3), r"y has shape \(3, 3\).*argmax"),
        (np.zeros((3, 1), int), r"y has shape \(3, 1\).*Flatten"),
        (np.array(1), r"y has shape \(\)"),
        (np.array([0.0, 1.0, 2.0]), "y is float64; labels are integers"),
        (np.array([True, False, True]), "y is bool; labels are integers"),
        (np.array(["a", "b", "c"]), "y is <U1; labels are integers"),
        (np.array([0, 1]), "y has 2 labels for 3 images"),
        (np.array([0, -1, -1]), r"label -1 at row 1 \(2 such rows\); labels lie in 0\.\.2"),
        (np.array([0, 1, 3]), r"label 3 at row 2 \(1 such rows\); labels lie in 0\.\.2"),
        (np.array([2**64 - 1, 0, 0], np.uint64), "label -1 at row 0"),
    ],
)
def test_what_is_not_a_label_is_refused(y: object, fact: str) -> None:
    with pytest.raises(InputError, match=fact):
        as_labels(y, "y", count=3, classes=3)


def test_without_a_number_of_classes_labels_still_count_from_zero() -> None:
    assert as_labels(np.array([900]), "y", count=1).tolist() == [900]
    with pytest.raises(InputError, match=r"label -5 at row 0 .* labels count from 0"):
        as_labels(np.array([-5]), "y", count=1)
