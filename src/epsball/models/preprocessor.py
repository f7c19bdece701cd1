"""``preprocessor_config.json``: what Hugging Face's pipeline does to a picture before the network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epsball.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """Preprocessing of pixels in [0, 1].

    Attributes
    ----------
    mean, std
        Pixels p become (p - mean) / std.
    size
        (height, width) that pictures are brought to before, or None if the file does not say.
    flipped
        Whether channels come in the opposite order, blue first.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    flipped: bool


def read_preprocessor(folder: Path) -> Preprocessor | None:
    """Return the preprocessing that a folder describes, or None if it describes none.

    The pipeline rescales bytes b to b * factor (less 1 with ``rescale_offset``), factor being 1/255
    unless the file says otherwise, and then takes (. - image_mean) / image_std; here that is one step on p = b/255.

    Raises
    ------
    InputError
        If the file is not JSON, or a value is not of its type.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
                return _read(document.get("image_processor", document))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ZeroDivisionError) as error:
                raise InputError(
                    f"{path} cannot be read ({type(error).__name__}: {error}). Save it again with save_pretrained."
                ) from error
    return None


def _read(document: dict[str, Any]) -> Preprocessor:
    factor = float(document.get("rescale_factor", 1 / 255)) if document.get("do_rescale", True) else 1.0
    offset = 1.0 if document.get("rescale_offset") and document.get("do_rescale", True) else 0.0
    mean, std = (0.0,), (1.0,)
    if document.get("do_normalize", "image_mean" in document):
        mean, std = _numbers(document["image_mean"]), _numbers(document["image_std"])
        if document.get("include_top"):  # EfficientNet's pipeline divides once more.
            std = tuple(value * value for value in std)
    scale = 255 * factor
    if abs(scale - 1) < 1e-9:  # 1/255 as decimals in the file
        scale = 1.0
    return Preprocessor(
        mean=tuple((value + offset) / scale for value in mean),
        std=tuple(value / scale for value in std),
        size=_size(document),
        flipped=bool(document.get("do_flip_channel_order", False)),
    )


def _size(document: dict[str, Any]) -> tuple[int, int] | None:
    """Return height and width after cropping, or else after resizing."""
    named = document.get("crop_size") if document.get("do_center_crop") else None
    named = named or document.get("size")
    if named is None:
        return None
    if isinstance(named, dict):
        height, width = (named.get(side) or named.get("shortest_edge") for side in ("height", "width"))
        return None if height is None or width is None else (int(height), int(width))
    height, width = named if isinstance(named, list) else (named, named)
    return int(height), int(width)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in (values if isinstance(values, list) else [values]))
