"""From the arguments of `train` to a `Task`: whatever can be wrong is found before the first step."""

import warnings

import torch
from torch import nn

from epsball import data as datasets
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.classifier.guards import PROBED, check_label_range
from epsball.classifier.normalise import Statistics
from epsball.errors import InputError, ModelError
from epsball.recipe import Recipe
from epsball.training.engine.batches import split
from epsball.training.engine.optimisers import MakeOptimiser
from epsball.training.engine.step import Task
from epsball.training.evaluation.after_epoch import EpochEvaluation
from epsball.training.objectives.input_gradient import InputGradient
from epsball.training.objectives.objective import Objective
from epsball.training.objectives.registry import resolve
from epsball.training.processes import join, warn_of_batch_norm


def prepare(
    module: nn.Module,
    data: object,
    objective: str | Objective,
    mean: Statistics | None,
    std: Statistics | None,
    ball: Ball | None,
    recipe: Recipe,
    optimiser: MakeOptimiser | None = None,
) -> tuple[Task, EpochEvaluation]:
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
    if not isinstance(ball, Ball | None):
        raise InputError(f"ball is {ball!r}; give a Ball, as Ball('linf', '8/255') or Ball.parse('linf:8/255').")
    objective = resolve(objective, ball)
    require_compilable(objective, recipe)
    ball = ball or getattr(objective, "ball", None)
    dataset = datasets.load(data, split="train")
    processes = join()
    if processes.device is not None:
        module.to(processes.device)
    classifier = Classifier(module, mean, std) if ball is None else Classifier(module, mean, std, ball.low, ball.high)
    require_tensors(module)
    if classifier.module is not module:
        raise ModelError(
            "the model was made under torch.inference_mode: its parameters cannot be trained in place. Build it "
            "outside that mode, or train copy.deepcopy(module), made outside it."
        )
    fitted, held = split(len(dataset), recipe)
    evaluation = EpochEvaluation.of(dataset, fitted, held, ball, recipe.seed)
    classes = classifier.check(*evaluation.held)
    check_label_range(dataset.labels, classes)
    _warn_of_missing_classes(dataset.labels[fitted], classes, classifier, evaluation.held[0][:PROBED])
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
    return task, evaluation


def require_tensors(module: nn.Module) -> None:
    """Raise ModelError if the module keeps state that is not a tensor: it could not be written."""
    for name, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"the module's state '{name}' is a {type(value).__name__}; only tensors can be written.")


def require_compilable(objective: Objective, recipe: Recipe) -> None:
    """Raise InputError if a compiled network would have to be differentiated twice."""
    if recipe.compile and isinstance(getattr(objective, "objective", objective), InputGradient):
        raise InputError(
            "'input-gradient' differentiates twice, which torch.compile cannot: leave compile out (it is True)."
        )


def _warn_of_missing_classes(labels: torch.Tensor, classes: int, classifier: Classifier, x: torch.Tensor) -> None:
    """Warn of classes without an example, unless the model masks them at a few inputs by logits of -infinity."""
    none = torch.bincount(labels, minlength=classes) == 0
    if bool(none.any()):
        none &= ~(classifier.logits(x)[:, :classes] == -torch.inf).all(0).cpu()
    missing = none.nonzero()[:, 0].tolist()
    if missing:
        named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        warnings.warn(
            f"no example of class {named} is trained on (the model has {classes} classes): the model cannot learn it. "
            "Give more examples, labels 0..C-1 without gaps, or a model of as many classes as there are.",
            stacklevel=3,
        )
