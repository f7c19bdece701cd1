"""What a run writes for others: the weights of the last and of the best epoch, their cards, the history."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from epsball._version import __version__
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.files import write_atomically, write_json
from epsball.models.card import Card
from epsball.models.own_code import own_files
from epsball.results import jsonable
from epsball.training.engine.optimisers import describe_optimiser
from epsball.training.engine.step import Task
from epsball.training.evaluation.epoch import Epoch, best_of
from epsball.training.objectives.objective import Objective

LAST, BEST, HISTORY = "card.json", "best.json", "history.jsonl"
WEIGHTS = {LAST: "weights.safetensors", BEST: "best.safetensors"}
RULE = "highest held-out accuracy under PGD-10, the earliest of equals; natural accuracy without a ball"


def configuration(task: Task, ball: Ball | None, architecture: str, parent: str | None = None) -> dict[str, Any]:
    """Return everything the weights of a run depend on, in JSON's types."""
    classifier, dataset = task.classifier, task.dataset
    own = {} if task.optimiser is None else {"optimiser": describe_optimiser(task.optimiser)}
    # Only where there is one, as with the optimiser: trainings of earlier versions resume.
    lineage = {} if parent is None else {"parent": {"card": parent, "network": classifier.fingerprint()}}
    return {
        **own,
        **lineage,
        "architecture": architecture or type(classifier.module).__name__,
        "mean": _statistics(classifier, "mean"),
        "std": _statistics(classifier, "std"),
        "objective": options(task.objective),
        "recipe": jsonable(task.recipe),
        "ball": None if ball is None else str(ball),
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint(), "examples": len(dataset)},
        "processes": task.processes.count,
    }


def describe(task: Task, resolved: dict[str, Any]) -> Card:
    """Return the card of a run, its history still empty."""
    keys = ("parent", "objective", "recipe", "optimiser", "ball", "data", "processes")
    return Card(
        architecture=resolved["architecture"],
        weights=WEIGHTS[LAST],
        mean=_tuple(resolved["mean"]),
        std=_tuple(resolved["std"]),
        shape=tuple(task.dataset.shape),
        classes=task.dataset.classes,
        training={
            **{key: resolved[key] for key in keys if key in resolved},
            "versions": {"epsball": __version__, "torch": str(torch.__version__)},
        },
    )


def with_history(card: Card, history: Sequence[Epoch], kept: str) -> Card:
    """Return the card of the weights `kept` (`LAST` or `BEST`) after the epochs so far."""
    best = best_of(history)
    chosen = best if kept == BEST else history[-1]
    selection = {"kept": "best" if kept == BEST else "last", "epoch": chosen.epoch, "best": best.epoch, "rule": RULE}
    training = {**card.training, "selection": selection, "history": [jsonable(epoch) for epoch in history]}
    return dataclasses.replace(card, weights=WEIGHTS[kept], training=training)


def save(card: Card, module: torch.nn.Module, history: Sequence[Epoch], folder: Path) -> None:
    """Write history, weights and cards, each whole or not at all, a card after its weights."""
    plain = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    content = to_bytes({name: _plain(tensor) for name, tensor in plain.state_dict().items()})
    lines = "".join(json.dumps(jsonable(epoch)) + "\n" for epoch in history)
    write_atomically(folder / HISTORY, lines.encode())
    kept = (LAST, BEST) if best_of(history) is history[-1] else (LAST,)
    for name in kept:
        write_atomically(folder / WEIGHTS[name], content)
        write_json(folder / name, with_history(card, history, name).to_json())


def options(objective: Objective) -> dict[str, Any]:
    """Return an objective's name and options in JSON's types; a network is recorded by its fingerprint.

    One of the user's own is recorded with the hashes of its files.
    """
    files = own_files(objective)
    named = {"name": objective.name} if files is None else {"name": objective.name, "files": files}
    if not dataclasses.is_dataclass(objective):
        return named
    values = {field.name: getattr(objective, field.name) for field in dataclasses.fields(objective)}
    return {**named, **{name: _option(value) for name, value in values.items()}}


def _option(value: Any) -> Any:
    if isinstance(value, torch.nn.Module):
        return Classifier(value).fingerprint()
    if dataclasses.is_dataclass(value) and isinstance(value, Objective):
        return options(value)
    return value if isinstance(value, int | float | str) else str(value)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _tuple(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def _statistics(classifier: Classifier, name: str) -> list[float] | None:
    if classifier.network is classifier.module:
        return None
    return getattr(next(iter(classifier.network.children())), name).tolist()
