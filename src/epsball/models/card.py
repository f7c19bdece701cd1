"""The card that training writes beside the weights: everything needed to load a model, in JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from epsball.errors import InputError, nearest
from epsball.models.file_kind import require_file
from epsball.results import jsonable


@dataclass(frozen=True, kw_only=True)
class Card:
    """A trained model, described.

    In JSON one object with exactly these keys; `training` may be left out.

    Attributes
    ----------
    architecture
        NAME with its own options, ``mlp,hidden=100:100``: a reference architecture or
        ``timm:NAME``. A card that names ``FILE.py:function`` can be written, but is not
        loaded: opening a card never runs code.
    weights
        Name of the safetensors file, relative to the card and in its folder or below.
    mean, std
        Normalisation in the units of the box, one number or one per channel; None (null) is none.
    shape
        Shape of one input, channels first.
    classes
        Number of logits.
    training
        How the weights came about (data, ball, objective, versions, seed, ...): free JSON.

    Raises
    ------
    InputError
        If `weights` is not a relative name of a safetensors file.

    Examples
    --------
    >>> card = Card(
    ...     architecture="mlp,hidden=8", weights="weights.safetensors", mean=None, std=None, shape=(1, 4, 4), classes=3
    ... )
    >>> Card.from_json(card.to_json()) == card
    True
    """

    architecture: str
    weights: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    shape: tuple[int, ...]
    classes: int
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = PurePosixPath(self.weights)
        if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
            raise InputError(
                f"the card's weights are {self.weights!r}; they are a .safetensors file, named relative to "
                "the card and in its folder or below."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the card in JSON's types."""
        return jsonable(self)

    @classmethod
    def from_json(cls, document: Any) -> "Card":
        """Return the card that a JSON document holds.

        Raises
        ------
        InputError
            If a key is unknown or missing, or a value has the wrong type.
        """
        if not isinstance(document, dict):
            raise InputError(f"a card is a JSON object; this is a {type(document).__name__}.")
        known = [key.name for key in fields(cls)]
        for key in document:
            if key not in known:
                raise InputError(f"a card has no key '{key}'.{nearest(key, known)} Its keys: {', '.join(known)}.")
        missing = [key for key in known if key not in document and key != "training"]
        if missing:
            raise InputError(f"the card lacks {', '.join(missing)}. Its keys: {', '.join(known)}.")
        return cls(**{key: _READERS[key](key, value) for key, value in document.items()})


def read_card(path: str | Path) -> Card:
    """Return the card in a JSON file.

    Raises
    ------
    InputError
        If the file is missing, is not JSON, or is not a card.

    Examples
    --------
    >>> read_card("nowhere.json")
    Traceback (most recent call last):
        ...
    epsball.errors.InputError: there is no file nowhere.json.
    """
    path = Path(path)
    require_file(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a card: it is not JSON ({error}).") from error
    try:
        return Card.from_json(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"the card's {key} is {value!r}; it is a text.")
    return value


def _count(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"the card's {key} is {value!r}; it is a positive integer.")
    return value


def _counts(key: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"the card's {key} is {value!r}; it is a list of positive integers.")
    return tuple(_count(key, item) for item in value)


def _numbers(key: str, value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(type(item) in (int, float) for item in value):
        raise InputError(f"the card's {key} is {value!r}; it is a list of numbers, or null.")
    return tuple(float(item) for item in value)


def _object(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"the card's {key} is {value!r}; it is a JSON object.")
    return value


_READERS = {
    "architecture": _text,
    "weights": _text,
    "mean": _numbers,
    "std": _numbers,
    "shape": _counts,
    "classes": _count,
    "training": _object,
}
