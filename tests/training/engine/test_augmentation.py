import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball import InputError
from epsball.randomness import Keys
from epsball.training.engine.augmentation import augment, cutout, flip, pad_crop, parse_augmentation


def images(n: int = 6):
    return torch.rand(n, 2, 5, 7, generator=torch.Generator().manual_seed(0))


def keys(n: int = 6) -> Keys:
    return Keys.of_positions(torch.arange(n), 3)


def test_a_crop_is_a_window_of_the_padded_image():
    x = images()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    for image, around in zip(pad_crop(x, keys(), 2), padded, strict=True):
        windows = [around[:, i : i + 5, j : j + 7] for i in range(5) for j in range(5)]
        assert any(torch.equal(image, window) for window in windows)


def test_a_flip_mirrors_about_half_of_the_images():
    x = images(200)
    flipped = flip(x, keys(200))
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(flipped, x, strict=True)]
    assert all(torch.equal(a, b) or m for a, b, m in zip(flipped, x, mirrored, strict=True))
    assert 70 < sum(mirrored) < 130


def test_cutout_zeroes_one_square_at_most():
    cut = cutout(images() + 0.1, keys(), 3)
    holes = (cut == 0).all(1)
    assert all(4 <= int(hole.sum()) <= 9 for hole in holes)


@settings(max_examples=15)
@given(st.permutations(range(6)))
def test_augmentation_belongs_to_the_example_not_to_its_place(order):
    chain = parse_augmentation("crop=2, flip, cutout=3")
    rows = torch.tensor(order)
    assert torch.equal(augment(images()[rows], keys()[rows], chain), augment(images(), keys(), chain)[rows])


def test_vectors_are_refused():
    with pytest.raises(InputError, match=r"for images .* \(6, 4\)"):
        augment(torch.rand(6, 4), keys(), parse_augmentation("flip"))
