"""Trains the zoo's networks, one folder each; what is there already is not trained again."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


from epsball import data as datasets
from epsball import models, progress, training
from epsball.ball import Ball
from epsball.chapter.zoo.bases import BASES, Base, DataName
from epsball.errors import InputError, lookup
from epsball.files import write_atomically, write_json
from epsball.generator_state import preserved

INDEX, FACTS = "INDEX.txt", "facts.json"
KINDS: dict[DataName, str] = {"mnist": "idx", "cifar10": "cifar10"}
"""The kind of text that reads each data set."""

_MEASURED = 1000


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network of the zoo.

    Parameters
    ----------
    base
        How it was trained.
    model, data
        The texts of the network and of its test set.
    natural
        Accuracy on the first 1,000 test images.
    seconds
        CPU time of its training.
    """

    base: Base
    model: str
    data: str
    natural: float
    seconds: float


def find(names: Iterable[str]) -> tuple[Base, ...]:
    """Return the bases of these names in the order of training; all of them if there are none.

    Raises
    ------
    InputError
        If no base has a name.
    """
    known = {base.name: base for base in BASES}
    chosen = {lookup(known, name, "network of the zoo:").name for name in names}
    return tuple(base for base in BASES if not chosen or base.name in chosen)


def train_bases(bases: Iterable[Base], folders: Mapping[DataName, Path], out: Path, seed: int = 0) -> list[Trained]:
    """Train networks one after another, resuming what was interrupted, and write the index after each.

    Parameters
    ----------
    bases
        The networks.
    folders
        Folder of each data set.
    out
        A folder per network is written there, as `epsball.training.train` does, and the index.
    seed
        Seed of the trainings.

    Raises
    ------
    InputError
        If a data set has no folder, or a network's folder holds another training.
    """
    chosen = tuple(bases)
    for base in chosen:
        if base.data not in folders:
            raise InputError(f"{base.name} is trained on {base.data}, and no folder of it is given: --{base.data} DIR.")
    done = []
    for number, base in enumerate(chosen):
        progress.report("networks of the zoo", number, len(chosen))
        done.append(train_base(base, folders[base.data], out / base.name, seed))
        write_atomically(out / INDEX, index(out, folders).encode())
    progress.report("networks of the zoo", len(chosen), len(chosen))
    return done


def train_base(base: Base, source: Path, folder: Path, seed: int = 0) -> Trained:
    """Train one network in its folder, or return it if it is there."""
    text = f"{KINDS[base.data]}:{source}"
    dataset = datasets.load(f"{text},split=train,first={base.examples}")
    with preserved(seed):
        loaded = models.load(base.model, shape=dataset.shape, classes=dataset.classes)
    begun = time.process_time()
    result = training.train(
        loaded.module,
        dataset,
        objective=training.resolve(base.objective, Ball.parse(base.ball)),
        ball=Ball.parse(base.ball),
        recipe=training.Recipe(seed=seed, **base.recipe),
        architecture=loaded.architecture,
        folder=folder,
    )
    facts = folder / FACTS
    if not facts.exists():
        x, y = datasets.load(f"{text},split=test,first={_MEASURED}")[:]
        natural = float((result.classifier.logits(x).argmax(1) == y).float().mean())
        write_json(facts, {"natural": natural, "seconds": time.process_time() - begun})
    return _trained(base, folder, source)


def _trained(base: Base, folder: Path, source: Path | None) -> Trained:
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    data = f"{KINDS[base.data]}:{source or 'DIR'}"
    return Trained(base=base, model=str(folder / "card.json"), data=data, **facts)


def index(out: Path, folders: Mapping[DataName, Path]) -> str:
    """Return a table of the networks found under a folder, one line each, columns separated by tabs."""
    there = [base for base in BASES if (out / base.name / FACTS).exists()]
    rows = [("name", "model", "data", "ball", "natural accuracy", "what")]
    for base in there:
        kept = _trained(base, out / base.name, folders.get(base.data))
        rows.append((base.name, kept.model, kept.data, base.ball, f"{kept.natural:.3f}", base.shows))
    return "".join("\t".join(row) + "\n" for row in rows)
