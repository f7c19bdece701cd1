"""What the page's script reads: columns and pictures as typed arrays, compressed, in text."""

import base64
import json
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from epsball.auditing.reading.examples import Column
from epsball.auditing.reading.pictures import Picture

MOST_BYTES = 4_500_000
"""Text of all pictures, at most."""

_UNSIGNED = (("Uint8", np.uint8, 255), ("Uint16", np.uint16, 65_535), ("Uint32", np.uint32, 2**32 - 1))


def packed(parts: Sequence[np.ndarray]) -> tuple[str, list[int]]:
    """Return arrays one after another, each at a multiple of 4 bytes, compressed in base64; and where each begins."""
    content, offsets = bytearray(), []
    for part in parts:
        content += bytes(-len(content) % 4)
        offsets.append(len(content))
        content += np.ascontiguousarray(part).astype(part.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(zlib.compress(bytes(content), 9)).decode(), offsets


def json_text(document: Any) -> str:
    """Return JSON that can stand in a script element: no character in it ends the element."""
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def pack_columns(columns: Sequence[Column]) -> tuple[list[dict[str, Any]], str]:
    """Return what each column is, and all of them packed. Codes and counts are stored plus one: 0 is none."""
    arrays, described = [], []
    for column in columns:
        if column.kind == "number":
            kind, array = "Float32", column.values.astype(np.float32)
        else:
            most = int(column.values.max(initial=0)) + 1
            kind, dtype = next((name, dtype) for name, dtype, largest in _UNSIGNED if most <= largest)
            array = (column.values + 1).astype(dtype)
        arrays.append(array)
        described.append({"name": column.name, "title": column.title, "kind": column.kind, "type": kind})
        if column.kind == "word":
            described[-1]["words"] = list(column.words)
    text, offsets = packed(arrays)
    return [{**column, "at": offset} for column, offset in zip(described, offsets, strict=True)], text


def pack_pictures(pictures: Sequence[Picture], most: int = MOST_BYTES) -> tuple[list[dict[str, Any]], str]:
    """Return what each picture is, and all of them packed; the first ones only where all would take too much room."""
    kept = list(pictures)
    while True:
        arrays, described = _arrays(kept)
        text, offsets = packed(arrays)
        if len(text) <= most or len(kept) <= 1:
            break
        kept = kept[: max(1, min(len(kept) - 1, int(len(kept) * most / len(text))))]
    for item in described:
        for part in ("x", "change"):
            item[part] = offsets[item[part]] if item[part] >= 0 else -1
    return described, text


def _arrays(pictures: Sequence[Picture]) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Return values in 8 or 16 bits between the picture's ends, and changes in units of its largest."""
    arrays: list[np.ndarray] = []
    described: list[dict[str, Any]] = []
    for picture in pictures:
        fine = picture.kind == "bars"
        low, high = _ends(picture)
        steps = 65_535 if fine else 255
        scaled = np.rint((picture.x - low) / (high - low) * steps)
        item: dict[str, Any] = {"index": picture.index, "kind": picture.kind, "shape": list(picture.x.shape)}
        item |= {"low": low, "high": high, "block": picture.block, "x": len(arrays), "change": -1}
        arrays.append(np.clip(scaled, 0, steps).astype(np.uint16 if fine else np.uint8))
        if picture.places is not None:
            item["places"] = picture.places.tolist()
        if picture.change is not None:
            largest = float(np.abs(picture.change).max(initial=0.0)) or 1.0
            steps = 32_767 if fine else 127
            item |= {"scale": largest, "change": len(arrays)}
            arrays.append(np.rint(picture.change / largest * steps).astype(np.int16 if fine else np.int8))
        described.append(item)
    return arrays, described


def _ends(picture: Picture) -> tuple[float, float]:
    """Return between what the values lie: [0, 1] where they do, else their own ends."""
    every = picture.x if picture.change is None else np.concatenate([picture.x, picture.x + picture.change])
    low, high = float(every.min(initial=0.0)), float(every.max(initial=0.0))
    low, high = min(low, 0.0), max(high, 1.0)
    return (low, high) if math.isfinite(low) and math.isfinite(high) and high > low else (0.0, 1.0)
