"""From what `train` is given to a `Task`: everything that can be wrong is found before the first step."""

import warnings

import torch
from torch import nn

from epsball import data as datasets
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.classifier.guards import check_label_range
from epsball.classifier.normalise import Statistics
from epsball.errors import InputError, ModelError
from epsball.training.batches import split
from epsball.training.measured import Measured
from epsball.training.objective import Objective
from epsball.training.optimisation import MakeOptimiser
from epsball.training.processes import join, warn_of_batch_norm
from epsball.training.recipe import Recipe
from epsball.training.registry import resolve
from epsball.training.run import Task


def prepare(
    module: nn.Module,
    data: object,
    objective: str | Objective,
    mean: Statistics | None,
    std: Statistics | None,
    ball: Ball | None,
    recipe: Recipe,
    optimiser: MakeOptimiser | None = None,
) -> tuple[Task, Measured]:
    """Return the task, and what is measured after each epoch; see `epsball.train` for the arguments.

    Raises
    ------
    InputError, ModelError
        If data, labels, options or the module break a rule.

    Warns
    -----
    UserWarning
        If a class has no example to train on, or batch norm sees only a part of each batch.
    """
    objective = resolve(objective, ball)
    ball = ball or getattr(objective, "ball", None)
    dataset = datasets.load(data, split="train")
    processes = join()
    if processes.device is not None:
        module.to(processes.device)
    classifier = Classifier(module, mean, std) if ball is None else Classifier(module, mean, std, ball.low, ball.high)
    require_tensors(module)
    fitted, held = split(len(dataset), recipe)
    measured = Measured.of(dataset, fitted, held, ball, recipe)
    check_label_range(dataset.labels, classifier.check(*measured.held))
    _warn_of_missing_classes(dataset, fitted)
    if recipe.batch_size < processes.count:
        raise InputError(f"batch_size is {recipe.batch_size} for {processes.count} processes; give at least one each.")
    warn_of_batch_norm(module, processes)
    processes.equalise(module)
    task = Task(
        classifier=classifier,
        objective=objective,
        dataset=dataset,
        fitted=fitted,
        recipe=recipe,
        processes=processes,
        optimiser=optimiser,
    )
    return task, measured


def require_tensors(module: nn.Module) -> None:
    """Raise ModelError if the module keeps state that is no tensor: it could not be written."""
    for name, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"the module's state '{name}' is a {type(value).__name__}; only tensors can be written.")


def _warn_of_missing_classes(dataset: datasets.Dataset, fitted: torch.Tensor) -> None:
    counts = torch.bincount(dataset.labels[fitted], minlength=dataset.classes)
    missing = (counts == 0).nonzero()[:, 0].tolist()
    if missing:
        warnings.warn(
            f"no example of class {', '.join(map(str, missing))} is trained on ({dataset.classes} classes): the model "
            "cannot learn it. Give more examples, or labels 0..C-1 without gaps.",
            stacklevel=3,
        )
