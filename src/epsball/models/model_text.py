"""The text that names a model: ``NAME[@WEIGHTS][,mean=..][,std=..][,ARG=..]``."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epsball.models.option_values import numbers, read_option, shape
from epsball.option_text import split_options

# An @ in a folder's name does not end the NAME of a Python file or of a file that is a whole model.
_NAME_AND_WEIGHTS = re.compile(
    r"(?P<name>.*\.py:\w+|(?:hf|torchscript):.*|\w+|.*\.(?:pt2|onnx|json)|[^@]*)(?:@(?P<weights>.+))?", re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class ModelText:
    """A model's text taken apart.

    Attributes
    ----------
    text
        The whole text.
    name
        The part before ``@``.
    weights
        The file of weights, or None.
    mean, std
        Normalisation in the units of the box (``mean=0.4914:0.4822:0.4465``), or None.
    shape
        Shape of one input (``shape=1x28x28``), or None.
    classes
        Number of logits, or None.
    ignore
        Prefixes of entries in the file of weights that the model has no use for.
    checks
        The classifier's checks that are overruled (``outputs=logits``, ``deterministic=True``,
        ``batch=independent``), as arguments of `epsball.Classifier`.
    options
        All other options, as texts.
    """

    text: str
    name: str
    weights: Path | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    shape: tuple[int, ...] | None
    classes: int | None
    ignore: tuple[str, ...]
    checks: dict[str, Any]
    options: dict[str, str]

    @property
    def architecture(self) -> str:
        """NAME with its own options only."""
        return ",".join([self.name, *(f"{key}={text}" for key, text in self.options.items())])


def parse_model_text(text: str) -> ModelText:
    """Take a model's text apart.

    Raises
    ------
    InputError
        If an option is written twice, or cannot be read.
    """
    head, options = split_options(text)
    match = _NAME_AND_WEIGHTS.fullmatch(head)
    name, weights = (match["name"], match["weights"]) if match else (head, None)
    taken = {
        key: read_option(key, options.pop(key), reader, example)
        for key, (reader, example) in _READERS.items()
        if key in options
    }
    checks = {
        key: _CHECKS[key, options.pop(key)]
        for key in ("outputs", "deterministic", "batch")
        if (key, options.get(key)) in _CHECKS
    }
    return ModelText(
        text=text,
        name=name,
        weights=Path(weights).expanduser() if weights else None,
        mean=taken.get("mean"),
        std=taken.get("std"),
        shape=taken.get("shape"),
        classes=taken.get("classes"),
        ignore=taken.get("ignore", ()),
        checks=checks,
        options=options,
    )


def _positive(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(f"{text} is not positive")
    return count


def _prefixes(text: str) -> tuple[str, ...]:
    return tuple(text.split(":"))


_CHECKS: dict[tuple[str, str | None], Any] = {
    ("outputs", "logits"): "logits",
    ("deterministic", "True"): True,
    ("deterministic", "true"): True,
    ("batch", "independent"): "independent",
}
"""Options that overrule a check, with their one value; with another one they are the model's own."""

_READERS = {
    "mean": (numbers, "0.4914:0.4822:0.4465"),
    "std": (numbers, "0.2471:0.2435:0.2616"),
    "shape": (shape, "1x28x28"),
    "classes": (_positive, "10"),
    "ignore": (_prefixes, "head:normalize"),
}
