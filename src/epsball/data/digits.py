"""``digits``: the 8x8 handwritten digits that come with this package.

1,797 grey images with pixels k/16, k = 0..16, of the test part of "Optical Recognition of
Handwritten Digits" (Alpaydin and Kaynak, UCI Machine Learning Repository, 1998, CC BY 4.0), as
scikit-learn ships them. The file beside this module was written by::

    digits = sklearn.datasets.load_digits()
    np.savez_compressed("digits.npz", images=digits.images.astype(np.uint8),
                        labels=digits.target.astype(np.uint8))
"""

from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from epsball.data.arrays import dataset_of
from epsball.data.dataset import Dataset
from epsball.errors import InputError, lookup


def open_digits(path: str, *, split: str) -> Dataset:
    """Return one part of the digits in this package: float32 (n, 1, 8, 8), positions those in the whole set.

    The parts are fixed and stratified: of the rows ordered by class (and within a class in their
    order), every third is ``test`` (599 rows), the others are ``train`` (1,198).
    """
    if path:
        raise InputError(f"'digits:{path}' names a path; digits come with the package: write 'digits'.")
    lookup(dict.fromkeys(("train", "test")), split, "split of digits:")
    stored = files("epsball.data") / "digits.npz"
    with stored.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    positions = _part(labels, split)
    return dataset_of(
        [images[positions, None].to(torch.float32) / 16],
        labels[positions],
        where=("the digits", "the digits' labels"),
        classes=10,
        class_names=tuple("0123456789"),
        positions=positions,
        split=split,
    )


def _part(labels: Tensor, split: str) -> Tensor:
    """Return the positions of one part, ascending."""
    by_class = labels.argsort(stable=True)
    third = torch.arange(len(labels)) % 3 == 2
    return by_class[third if split == "test" else ~third].sort().values
