"""8-bit and 16-bit pixels as the float32 centres that every pillar shares."""

import numpy as np
import torch
from torch import Tensor

from epsball.errors import InputError


def from_8bit(pixels: Tensor) -> Tensor:
    """Return the correctly rounded float32 of k/255 for uint8 pixels k.

    The division is a single IEEE operation; ``k * (1/255)`` differs from it for 126 of the 256
    values and would move the centre of the ball.

    Raises
    ------
    InputError
        If `pixels` is not uint8.

    Examples
    --------
    >>> from_8bit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    if pixels.dtype != torch.uint8:
        raise InputError(f"pixels are {pixels.dtype}; 8-bit pixels are uint8. Use floats in [0, 1] as they are.")
    return pixels.to(torch.float32) / 255.0


def from_16bit(pixels: np.ndarray) -> Tensor:
    """Return the correctly rounded float32 of k/65535 for unsigned 16-bit pixels k.

    Examples
    --------
    >>> from_16bit(np.array([0, 13107, 65535], np.uint16))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return torch.from_numpy(pixels.astype(np.float32)) / 65535.0
