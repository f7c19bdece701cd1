"""Sentences on what was read from a model's own files."""

from collections.abc import Mapping
from typing import Any


def inferred(where: str, said: Mapping[str, Any]) -> str:
    """Return the sentence that names what was read, and from where.

    Examples
    --------
    >>> inferred("preprocessor_config.json", {"mean": (0.5,), "std": (0.25,), "shape": (1, 28, 28), "classes": 10})
    'read from preprocessor_config.json: mean=0.5, std=0.25, inputs of 1x28x28, 10 classes.'
    """
    parts = [f"{key}={numbers(said[key])}" for key in ("mean", "std") if said.get(key) is not None]
    if said.get("shape") is not None:
        parts.append(f"inputs of {by_x(said['shape'])}")
    if said.get("classes") is not None:
        parts.append(f"{said['classes']} classes")
    return f"read from {where}: {', '.join(parts) or 'nothing'}."


def numbers(values: tuple[float, ...]) -> str:
    """Return numbers as an option's text."""
    return ":".join(f"{value:.6g}" for value in values)


def by_x(shape: tuple[int, ...]) -> str:
    """Return a shape as text, ``1x28x28``."""
    return "x".join(map(str, shape))
