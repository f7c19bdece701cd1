"""`LoadedModel`: what `load` returns, and the last steps that all kinds of models share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

from epsball.classifier import Classifier
from epsball.errors import InputError, ModelError, nearest
from epsball.models.card import Card
from epsball.models.model_text import ModelText
from epsball.models.weights import load_weights


class Known(TypedDict):
    """What is known of the inputs, from the text or from the data."""

    shape: tuple[int, ...] | None
    classes: int | None


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A module with what its text, its file or its card say about it.

    Attributes
    ----------
    module
        Maps normalised inputs (n, *shape) to logits (n, classes); on the CPU.
    mean, std
        Normalisation in the units of the box, one number or one per channel, or None.
    shape
        Shape of one input, or None if unknown.
    classes
        Number of logits, or None if unknown.
    text
        The text it was loaded from.
    name
        NAME of the text: what the model is called in tables.
    architecture
        NAME with its own options, without weights, normalisation, shape and classes: what a
        `Card` records.
    weights
        The file its weights come from; None where they are newly drawn.
    card
        The card it was loaded from, or None.
    class_names
        The name of each class, where the model says.
    notes
        What was concluded from its file and not asked for: each is a sentence for the user.
    checks
        The checks that the text overrules, as arguments of `epsball.Classifier`.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.models.load("mlp,hidden=8", shape=(1, 4, 4), classes=3).classifier()
    Classifier(Sequential, box=[0.0, 1.0], dtype=torch.float32, device=cpu)
    """

    module: nn.Module
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    shape: tuple[int, ...] | None
    classes: int | None
    text: str
    name: str
    architecture: str
    weights: Path | None
    card: Card | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    checks: dict[str, Any] = field(default_factory=dict)

    def classifier(self, *, low: float | None = 0.0, high: float | None = 1.0, stochastic: bool = False) -> Classifier:
        """Return the module behind its normalisation, as every verb takes it.

        Parameters
        ----------
        low, high
            The box of legal inputs; None for no box. A ball's box lies within it.
        stochastic
            Whether the model draws random numbers, and is judged over repetitions.
        """
        return Classifier(self.module, self.mean, self.std, low=low, high=high, stochastic=stochastic, **self.checks)


def refuse_more(request: ModelText, why: str, allowed: tuple[str, ...]) -> None:
    """Raise an `InputError` if a text that names a whole model brings weights or options not `allowed`."""
    if request.weights is not None:
        raise InputError(f"{why}: leave out @{request.weights}.")
    given = {key for key in ("mean", "std", "shape", "classes", "ignore") if getattr(request, key)}
    for key in (*request.options, *sorted(given - set(allowed))):
        takes = f"Its options: {', '.join(allowed)}." if allowed else "It takes no options."
        raise InputError(f"{why}, with no option '{key}'.{nearest(key, allowed)} {takes}")


def with_weights(module: nn.Module, request: ModelText, known: Known) -> LoadedModel:
    """Load the weights that the text names into `module`, and return it with what is known of it."""
    notes: tuple[str, ...] = ()
    if request.weights is not None:
        notes = load_weights(module, request.weights, request.name, request.ignore)
    elif request.ignore:
        raise InputError(f"ignore={':'.join(request.ignore)} is about a file of weights, and none is named.")
    return LoadedModel(
        module=module,
        mean=request.mean,
        std=request.std,
        shape=known["shape"],
        classes=known["classes"],
        text=request.text,
        name=request.name,
        architecture=request.architecture,
        weights=request.weights,
        notes=notes,
    )


def check_finite(loaded: LoadedModel) -> None:
    """Raise a `ModelError` that names a parameter with NaN or infinite values."""
    for name, parameter in loaded.module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ModelError(
                f"parameter {name} of {loaded.name} has NaN or infinite values. Training diverged, or its "
                "initialisation is wrong: take other weights."
            )
