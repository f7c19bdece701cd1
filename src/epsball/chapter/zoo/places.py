"""Where the zoo's trained networks and parts lie, and how they are read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from epsball import models
from epsball.chapter.zoo.bases import BASES, Base, DataName
from epsball.errors import InputError, lookup

FACTS, CODES = "facts.json", "codes.json"
"""What was measured of a network; the card of one that was trained behind an encoder."""

KINDS: dict[DataName, str] = {"mnist": "idx", "fashion": "idx", "cifar10": "cifar10", "digits": "digits"}
"""The kind of text that reads each data set."""

Folders = Mapping[DataName, Path]
"""The folder of each data set; the digits need none."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network of the zoo.

    Parameters
    ----------
    base
        How it was trained.
    model
        Its text.
    natural
        Accuracy on the first 1,000 test images.
    seconds
        CPU time of its training.
    """

    base: Base
    model: str
    natural: float
    seconds: float


def by_name(name: str) -> Base:
    """Return the base of a name.

    Raises
    ------
    InputError
        If there is none; names the nearest.
    """
    return lookup({base.name: base for base in BASES}, name, "network of the zoo:")


def data_text(data: DataName, folders: Folders) -> str:
    """Return the text of a data set.

    Raises
    ------
    InputError
        If its folder is not given.
    """
    if data == "digits":
        return "digits"
    if data not in folders:
        raise InputError(f"the data set {data} is needed, and its folder is not given: --{data} DIR.")
    return f"{KINDS[data]}:{folders[data]}"


def is_trained(base: Base, out: Path) -> bool:
    """Return whether a network is there."""
    return (out / base.name / FACTS).exists()


def trained(base: Base, out: Path) -> Trained:
    """Return what is known of a network that is there.

    Raises
    ------
    InputError
        If it is not; says how to train it.
    """
    folder = out / base.name
    if not is_trained(base, out):
        raise InputError(f"{folder} holds no trained network; train it: epsball zoo train {base.name} --out {out}.")
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    card = folder / (CODES if base.encoder is not None else "card.json")
    return Trained(base=base, model=str(card), **facts)


def network(name: str, out: Path) -> nn.Module:
    """Return a trained network, raw inputs (or codes) to logits."""
    folder = out / name
    if not (folder / FACTS).exists():
        raise InputError(f"{folder} holds no trained network; train it: epsball zoo train {name} --out {out}.")
    card = folder / CODES
    return models.load(str(card if card.exists() else folder / "card.json")).classifier().network
