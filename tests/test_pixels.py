from fractions import Fraction

import numpy as np
import pytest
import torch

from epsball.errors import InputError
from epsball.pixels import from_8bit


def test_every_pixel_is_the_float32_nearest_to_k_over_255() -> None:
    pixels = from_8bit(torch.arange(256, dtype=torch.uint8)).numpy()
    assert pixels.dtype == np.float32
    for k, pixel in enumerate(pixels):
        exact = Fraction(k, 255)
        neighbours = [np.nextafter(pixel, np.float32(-1)), np.nextafter(pixel, np.float32(2))]
        error = abs(Fraction(float(pixel)) - exact)
        assert all(error < abs(Fraction(float(neighbour)) - exact) for neighbour in neighbours)


def test_multiplying_by_the_reciprocal_would_give_other_centres() -> None:
    k = torch.arange(256, dtype=torch.uint8)
    product = k.to(torch.float32) * torch.tensor(1 / 255, dtype=torch.float32)
    assert int((product != from_8bit(k)).sum()) == 126


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.int8])
def test_other_types_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=str(dtype)):
        from_8bit(torch.zeros(2, dtype=dtype))
