"""Augmentation: random crops of the padded image, flips, and cutout, keyed by the example."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from epsball.errors import InputError
from epsball.randomness import Keys
from epsball.recipe import read_augmentation

Augmentation = Callable[[Tensor, Keys], Tensor]
"""Maps images (n, c, h, w) and one key per image to images of the same shape."""


def pad_crop(x: Float[Tensor, "n c h w"], keys: Keys, padding: int) -> Float[Tensor, "n c h w"]:
    """Return random windows, of the image's own size, of the image padded with zeros."""
    height, width = x.shape[-2:]
    top = keys.derive("top").choice(2 * padding + 1)
    left = keys.derive("left").choice(2 * padding + 1)
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.arange(width, device=x.device)
    padded = functional.pad(x, (padding,) * 4)
    images = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[images, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def flip(x: Float[Tensor, "n c h w"], keys: Keys) -> Float[Tensor, "n c h w"]:
    """Return each image mirrored left to right with probability 1/2."""
    return torch.where(keys.derive("flip").choice(2).bool().view(-1, 1, 1, 1), x.flip(-1), x)


def cutout(x: Float[Tensor, "n c h w"], keys: Keys, side: int) -> Float[Tensor, "n c h w"]:
    """Return images with a square set to 0; its centre is uniform, so it may reach over the edge.

    References
    ----------
    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """
    height, width = x.shape[-2:]
    top = keys.derive("cut top").choice(height)[:, None] - side // 2
    left = keys.derive("cut left").choice(width)[:, None] - side // 2
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    cut_rows, cut_columns = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
    return x.masked_fill((cut_rows[:, :, None] & cut_columns[:, None, :])[:, None], 0.0)


def parse_augmentation(text: str) -> list[Augmentation]:
    """Return what ``crop=4,flip,cutout=8`` names, in the order written, or raise `InputError`."""
    return [_named(name, size) for name, size in read_augmentation(text)]


def _named(name: str, size: int) -> Augmentation:
    if name == "flip":
        return flip
    return (lambda x, keys: pad_crop(x, keys, size)) if name == "crop" else (lambda x, keys: cutout(x, keys, size))


def augment(x: Float[Tensor, "n *shape"], keys: Keys, augmentations: list[Augmentation]) -> Float[Tensor, "n *shape"]:
    """Return augmented examples.

    Raises
    ------
    InputError
        If there is something to do and the examples are not images.
    """
    if augmentations and x.ndim != 4:
        raise InputError(f"augmentation is for images (n, c, h, w); the examples are {tuple(x.shape)}. Leave it out.")
    for augmentation in augmentations:
        x = augmentation(x, keys)
    return x
