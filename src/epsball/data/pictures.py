"""Pictures of image files as arrays: only what has one meaning is accepted."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from epsball.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


def to_tensor(image: "Image", where: str) -> UInt8[Tensor, "c h w"]:
    """Return the pixels of a grey (1, h, w) or RGB (3, h, w) picture called `where`.

    Raises
    ------
    InputError
        If it has another mode (palette, alpha, 16 bits, CMYK) or several frames: how those become
        pixels is the owner's choice.
    """
    if image.mode not in ("L", "RGB"):
        raise InputError(
            f"{where} has mode {image.mode}; pictures are 8-bit grey (L) or RGB. "
            "Convert the files once: image.convert('RGB').save(...)."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{where} has {getattr(image, 'n_frames', 1)} frames; save one picture per file.")
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if image.mode == "L" else pixels.permute(2, 0, 1).contiguous()


def check_like_first(shape: tuple[int, ...], where: str, first_shape: tuple[int, ...], first: str) -> None:
    """Check that a picture has the channels, height and width of the first one."""
    if shape != first_shape:
        raise InputError(
            f"{where} is {_words(shape)} and {first} is {_words(first_shape)}; all pictures of a data set "
            "have one size and one mode. Resize or convert the files once."
        )


def _words(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{'grey (L)' if channels == 1 else 'RGB'} {width}x{height}"
