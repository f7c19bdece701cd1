"""Pictures of image files as arrays: only what has one meaning is accepted."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from epsball.errors import InputError
from epsball.pixels import from_16bit

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
# Only these decoders: whatever a file is called, it must not reach one that starts other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")


def decoded(source: Path | bytes, where: str) -> UInt8[Tensor, "c h w"] | Float[Tensor, "c h w"]:
    """Return the pixels of a picture's file, or of its content, called `where`.

    Raises
    ------
    InputError
        If it cannot be decoded, or `to_tensor` refuses it.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
            return to_tensor(image, where)
    except InputError:
        raise
    except Exception as error:  # A damaged picture can raise nearly anything.
        raise InputError(f"{where} cannot be decoded ({error}); mend or remove it.") from error


def to_tensor(image: "Image", where: str) -> UInt8[Tensor, "c h w"] | Float[Tensor, "c h w"]:
    """Return the pixels of a grey (1, h, w) or RGB (3, h, w) picture called `where`.

    8-bit pixels come as uint8, 16-bit grey ones as the float32 of k/65535.

    Raises
    ------
    InputError
        If it has another mode (palette, alpha, CMYK) or several frames: how those become pixels is the
        owner's choice. If it has 16 bits per colour: Pillow keeps 8 of them.
    """
    stored = _stored_form(image)
    grey_16 = image.mode.startswith("I;16") or (image.mode == "I" and stored.startswith("I;16"))
    if not grey_16 and image.mode not in ("L", "RGB"):
        raise InputError(
            f"{where} has mode {image.mode}; pictures are 8-bit grey (L) or RGB, or 16-bit grey. "
            "Convert the files once: image.convert('RGB').save(...)."
        )
    if not grey_16 and ";16" in stored:
        raise InputError(
            f"{where} has 16 bits per colour, of which Pillow reads 8; pictures are 8-bit grey (L) or RGB, or 16-bit "
            "grey. Store the pixels as floats k/65535 in a .npz file, or save 8-bit pictures yourself."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{where} has {getattr(image, 'n_frames', 1)} frames; save one picture per file.")
    if grey_16:
        return from_16bit(np.array(image))[None]
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if image.mode == "L" else pixels.permute(2, 0, 1).contiguous()


Form = tuple[tuple[int, ...], torch.dtype]
"""Shape and type of a picture's pixels."""


def form_of(picture: Tensor) -> Form:
    """Return the form of a picture."""
    return tuple(picture.shape), picture.dtype


def _stored_form(image: "Image") -> str:
    """Return Pillow's name for how the file of a picture not yet decoded stores its pixels, as ``RGB;16B``."""
    tiles = getattr(image, "tile", None)
    if not tiles or isinstance(tiles[0].args, str):
        return tiles[0].args if tiles else ""
    name, *more = tiles[0].args
    # Portable pixmaps give the largest value.
    return f"{name};16B" if tiles[0].codec_name == "ppm" and more[0] > 255 else str(name)


def check_like_first(picture: Tensor, where: str, first_form: Form, first: str) -> None:
    """Check that a picture has the channels, height, width and type of pixels of the first one."""
    form = form_of(picture)
    if form != first_form:
        raise InputError(
            f"{where} is {_words(form)} and {first} is {_words(first_form)}; all pictures of a data set "
            "have one size and one mode. Resize or convert the files once."
        )


def _words(form: Form) -> str:
    (channels, height, width), dtype = form
    grey = "grey (L)" if dtype == torch.uint8 else "16-bit grey"
    return f"{grey if channels == 1 else 'RGB'} {width}x{height}"
