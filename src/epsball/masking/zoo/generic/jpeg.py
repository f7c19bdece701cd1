"""Compression like JPEG's in front of a network: block cosine transform, quantisation, rounding."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from epsball.errors import InputError
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front, through

SIDE = 8
"""Pixels per side of a block."""

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantisation tables of ITU-T T.81, Annex K, tables K.1 and K.2."""

YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Red, green, blue to luminance and chrominance (JFIF 1.02, section 7)."""


def cosine_transform() -> Float[Tensor, "8 8"]:
    """Return the orthogonal matrix D of the type-II cosine transform: D_ij = c_i cos((2j + 1) i pi / 16).

    c_0 = sqrt(1/8), c_i = sqrt(2/8) else; the coefficients of a block B are D B D^T.

    Examples
    --------
    >>> import torch
    >>> D = cosine_transform()
    >>> bool(torch.allclose(D @ D.T, torch.eye(8), atol=1e-6))
    True
    """
    i, j = torch.arange(SIDE, dtype=torch.float64)[:, None], torch.arange(SIDE, dtype=torch.float64)
    scale = torch.where(i == 0, math.sqrt(1 / SIDE), math.sqrt(2 / SIDE))
    return (scale * torch.cos((2 * j + 1) * i * math.pi / (2 * SIDE))).float()


def quantisation_table(table: tuple[tuple[int, ...], ...], quality: int) -> Float[Tensor, "8 8"]:
    """Return a table for a quality of 1 to 100, by the rule of the Independent JPEG Group's library."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).float()


class JPEG(nn.Module):
    """What JPEG loses: 8x8 blocks, their cosine transform divided by a table and rounded, and back to 8 bits.

    Chrominance is not subsampled; sides are padded to multiples of 8 by their last pixels. Grey images have luminance
    only.

    Parameters
    ----------
    quality
        1 to 100; small numbers lose more.

    References
    ----------
    ITU-T Recommendation T.81 (1992), Annexes A and K. Guo et al., "Countering adversarial images using input
    transformations", ICLR 2018.

    Examples
    --------
    >>> import torch
    >>> x = torch.rand(2, 3, 12, 20)
    >>> JPEG(quality=50)(x).shape
    torch.Size([2, 3, 12, 20])
    """

    transform: Tensor
    tables: Tensor
    colours: Tensor

    def __init__(self, quality: int = 50) -> None:
        super().__init__()
        if quality not in range(1, 101):
            raise InputError(f"quality is {quality}; it is a whole number from 1 to 100.")
        self.quality = quality
        self.register_buffer("transform", cosine_transform(), persistent=False)
        tables = (quantisation_table(table, quality) for table in (LUMINANCE, CHROMINANCE, CHROMINANCE))
        self.register_buffer("tables", torch.stack(list(tables)), persistent=False)
        self.register_buffer("colours", torch.tensor(YCBCR), persistent=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the images as they come back from the file."""
        channels, height, width = x.shape[1:]
        if channels not in (1, 3):
            raise InputError(f"JPEG takes images of 1 or 3 channels; these have {channels}.")
        pixels = 255 * x
        if channels == 3:
            pixels = torch.einsum("dc,nchw->ndhw", self.colours, pixels)
            pixels = pixels + pixels.new_tensor([0.0, 128.0, 128.0])[:, None, None]
        padded = functional.pad(pixels - 128, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
        quantised = self._quantised(padded)[:, :, :height, :width] + 128
        if channels == 3:
            quantised = quantised - quantised.new_tensor([0.0, 128.0, 128.0])[:, None, None]
            quantised = torch.einsum("dc,nchw->ndhw", torch.linalg.inv(self.colours), quantised)
        return quantised.round().clamp(0, 255) / 255

    def _quantised(self, planes: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        n, channels, height, width = planes.shape
        D, tables = self.transform, self.tables[:channels, None, None]
        blocks = planes.view(n, channels, height // SIDE, SIDE, width // SIDE, SIDE).transpose(3, 4)
        coefficients = D @ blocks @ D.T
        kept = (coefficients / tables).round() * tables
        return (D.T @ kept @ D).transpose(3, 4).reshape(n, channels, height, width)

    def extra_repr(self) -> str:
        """Return the quality."""
        return f"quality={self.quality}"


DEFENCE = Defence(
    name="jpeg",
    paper="Guo et al., ICLR 2018; broken by Athalye, Carlini and Wagner, ICML 2018",
    does="Compresses each image as JPEG does at quality 50.",
    masking="shattered",
    base="cifar-standard",
    ball="linf:8/255",
    defend=lambda network: in_front(JPEG(quality=50), network),
    adaptive=through,
)
