"""What a run writes: weights, the card that names them, and the history."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes

from epsball import __version__
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.data import Dataset
from epsball.errors import InputError, ModelError
from epsball.files import write_atomically, write_json
from epsball.models.card import Card
from epsball.results import jsonable
from epsball.training.objective import Objective
from epsball.training.recipe import Recipe
from epsball.training.result import Epoch

WEIGHTS, CARD, HISTORY = "weights.safetensors", "card.json", "history.jsonl"


def require_new(folder: str | Path, module: torch.nn.Module) -> None:
    """Raise an error if the folder holds another training, or the module's state cannot be written.

    Raises
    ------
    InputError
        If there is a card in the folder.
    ModelError
        If the module keeps state that is no tensor.
    """
    if (Path(folder) / CARD).exists():
        raise InputError(f"{folder} holds another training; choose another folder, or delete it.")
    for name, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"the module's state '{name}' is a {type(value).__name__}; only tensors can be written.")


def describe(
    classifier: Classifier,
    dataset: Dataset,
    objective: Objective,
    recipe: Recipe,
    ball: Ball | None,
    architecture: str,
) -> Card:
    """Return the card of a run, its history still empty."""
    return Card(
        architecture=architecture or type(classifier.module).__name__,
        weights=WEIGHTS,
        mean=_statistics(classifier, "mean"),
        std=_statistics(classifier, "std"),
        shape=tuple(dataset.shape),
        classes=dataset.classes,
        training={
            "objective": {"name": objective.name, **_options(objective)},
            "recipe": jsonable(recipe),
            "ball": None if ball is None else str(ball),
            "data": {"name": dataset.name, "fingerprint": dataset.fingerprint(), "examples": len(dataset)},
            "versions": {"epsball": __version__, "torch": str(torch.__version__)},
        },
    )


def with_history(card: Card, history: Sequence[Epoch]) -> Card:
    """Return the card with the epochs so far."""
    return dataclasses.replace(card, training={**card.training, "history": [jsonable(epoch) for epoch in history]})


def save(card: Card, module: torch.nn.Module, history: Sequence[Epoch], folder: str | Path) -> Path:
    """Write weights, history and card, each whole or not at all, the card last; return the card's path."""
    folder = Path(folder)
    plain = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in plain.state_dict().items()}
    write_atomically(folder / WEIGHTS, to_bytes(tensors))
    lines = "".join(json.dumps(jsonable(epoch)) + "\n" for epoch in history)
    write_atomically(folder / HISTORY, lines.encode())
    write_json(folder / CARD, card.to_json())
    return folder / CARD


def _statistics(classifier: Classifier, name: str) -> tuple[float, ...] | None:
    if classifier.network is classifier.module:
        return None
    return tuple(getattr(next(iter(classifier.network.children())), name).tolist())


def _options(objective: Objective) -> dict[str, object]:
    """Return an objective's options as texts and numbers."""
    if not dataclasses.is_dataclass(objective):
        return {}
    values = {field.name: getattr(objective, field.name) for field in dataclasses.fields(objective)}
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in values.items()}
