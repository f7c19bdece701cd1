"""Trains the zoo's networks and parts, one folder each; what is there already is not trained again."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import nn

from epsball import data as datasets
from epsball import models, progress, training
from epsball.ball import Ball
from epsball.chapter.zoo.bases import BASES, TEMPERATURE, Base
from epsball.chapter.zoo.distillation import Distillation
from epsball.chapter.zoo.loading import write_functions
from epsball.chapter.zoo.parts import PARTS, Part, part_facts, train_part
from epsball.chapter.zoo.places import CODES, FACTS, Folders, data_text, is_trained, network, trained
from epsball.data import Dataset
from epsball.errors import lookup
from epsball.files import write_atomically, write_json
from epsball.generator_state import preserved
from epsball.models.card import Card

INDEX = "INDEX.txt"

_MEASURED = 1000


def find(names: Iterable[str]) -> tuple[Base | Part, ...]:
    """Return the networks and parts of these names, with what they stand on before them; all if there are none.

    Raises
    ------
    InputError
        If nothing has a name.
    """
    known: dict[str, Base | Part] = {item.name: item for item in (*BASES, *PARTS)}
    wanted = {lookup(known, name, "network of the zoo:").name for name in names} or set(known)
    while missing := {name for item in wanted for name in _needs(known[item])} - wanted:
        wanted |= missing
    return tuple(known[name] for name in _in_order(known) if name in wanted)


def _needs(item: Base | Part) -> set[str]:
    needed = (item.network,) if isinstance(item, Part) else (item.start, item.source)
    return {name for name in needed if name is not None}


def _in_order(known: dict[str, Base | Part]) -> list[str]:
    """Return the names as listed, each after those it needs."""
    order: list[str] = []
    while len(order) < len(known):
        order += [name for name, item in known.items() if name not in order and _needs(item) <= set(order)]
    return order


def train_all(items: Iterable[Base | Part], folders: Folders, out: Path, seed: int = 0) -> None:
    """Train networks and parts one after another, resuming what was interrupted, and write the index after each.

    Parameters
    ----------
    items
        Networks and parts, each after those it needs.
    folders
        Folder of each data set.
    out
        A folder for each is written there, as `epsball.training.train` does, and the index.
    seed
        Seed of the trainings.

    Raises
    ------
    InputError
        If a data set has no folder, or a network's folder holds another training.
    """
    chosen = tuple(items)
    for item in chosen:
        data_text(item.data, folders)
    for number, item in enumerate(chosen):
        progress.report("networks of the zoo", number, len(chosen))
        if isinstance(item, Part):
            train_part(item, folders, out, seed)
        else:
            train_base(item, folders, out, seed)
        write_atomically(out / INDEX, tabbed(rows(out, folders)).encode())
    write_functions(out)
    progress.report("networks of the zoo", len(chosen), len(chosen))


def train_base(base: Base, folders: Folders, out: Path, seed: int = 0) -> None:
    """Train one network in its folder."""
    text, folder = data_text(base.data, folders), out / base.name
    first = "" if base.examples is None else f",first={base.examples}"
    dataset = datasets.load(f"{text},split=train{first}")
    module, architecture = _module(base, dataset, out, seed)
    ball = Ball.parse(base.ball)
    begun = time.process_time()
    result = training.train(
        module,
        dataset,
        objective=_objective(base, ball, out),
        ball=None if base.encoder is not None else ball,  # PGD after each epoch finds no gradient behind codes
        recipe=training.Recipe(seed=seed, **base.recipe),
        architecture="" if base.encoder is not None else architecture,
        folder=folder,
    )
    if is_trained(base, out):
        return
    if base.encoder is not None:
        _write_codes(folder, architecture, module, result.card)
    x, y = datasets.load(f"{text},split=test")[:_MEASURED]
    natural = float((result.classifier.logits(x).argmax(1) == y).float().mean())
    write_json(folder / FACTS, {"natural": natural, "seconds": time.process_time() - begun})


def _module(base: Base, dataset: Dataset, out: Path, seed: int) -> tuple[nn.Module, str]:
    """Return the module to train, behind its encoder if it has one, and the architecture's text."""
    if base.start is not None:
        return network(base.start, out), base.model
    encoder = None if base.encoder is None else base.encoder()
    shape = dataset.shape if encoder is None else tuple(encoder(torch.zeros(1, *dataset.shape)).shape[1:])
    with preserved(seed):
        loaded = models.load(base.model, shape=shape, classes=dataset.classes)
    module = loaded.module if encoder is None else nn.Sequential(encoder, loaded.module)
    return module, loaded.architecture


def _objective(base: Base, ball: Ball, out: Path) -> Any:
    source = None if base.source is None else network(base.source, out)
    if base.objective == Distillation.name and source is not None:
        return Distillation(teacher=source, temperature=TEMPERATURE)
    return training.resolve(base.objective, ball, source=source)


def _write_codes(folder: Path, architecture: str, module: nn.Module, card: Card) -> None:
    """Write weights and card of the network behind the encoder, which takes codes."""
    encoder, inner = module.children()
    weights = Path(CODES).with_suffix(".safetensors").name
    content = {name: tensor.detach().contiguous() for name, tensor in inner.state_dict().items()}
    write_atomically(folder / weights, to_bytes(content))
    codes = Card(
        architecture=architecture,
        weights=weights,
        mean=None,
        std=None,
        shape=tuple(encoder(torch.zeros(1, *card.shape)).shape[1:]),
        classes=card.classes,
        training={**card.training, "codes": str(encoder)},
    )
    write_json(folder / CODES, codes.to_json())


def rows(out: Path, folders: Folders) -> list[dict[str, str]]:
    """Return what is found under a folder, one row each."""
    found = []
    for base in (base for base in BASES if is_trained(base, out)):
        kept = trained(base, out)
        text = data_text(base.data, folders) if base.data in folders or base.data == "digits" else base.data
        found.append(_row(base.name, kept.model, text, base.ball, f"{kept.natural:.3f}", base.shows))
    for part in PARTS:
        facts = part_facts(part, out)
        if facts is not None:
            measured = ", ".join(f"{name} {value:.3f}" for name, value in facts.items() if name != "seconds")
            found.append(_row(part.name, "(a part)", part.data, "", measured, part.shows))
    return found


def _row(*cells: str) -> dict[str, str]:
    return dict(zip(("name", "model", "data", "ball", "natural accuracy", "what"), cells, strict=True))


def tabbed(found: list[dict[str, str]]) -> str:
    """Return rows as lines with a head, columns separated by tabs."""
    head = list(_row(*[""] * 6))
    return "".join("\t".join(line) + "\n" for line in (head, *(list(row.values()) for row in found)))
