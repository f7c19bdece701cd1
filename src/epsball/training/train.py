"""`train`: one loop for every objective."""

from pathlib import Path

import torch

from epsball.ball import Ball
from epsball.checks import check_count
from epsball.classifier.normalise import Statistics
from epsball.files import write_atomically
from epsball.generator_state import preserved
from epsball.results import png
from epsball.training.engine.optimisers import MakeOptimiser
from epsball.training.engine.recipe import Recipe
from epsball.training.engine.step import Stepper
from epsball.training.loop import Loop
from epsball.training.objectives.objective import Objective
from epsball.training.prepare import prepare
from epsball.training.records.artifacts import BEST, LAST, configuration, describe, with_history
from epsball.training.records.resume import checkpoint_to_resume
from epsball.training.result import Training

FIGURE = "curves.png"


def train(
    module: torch.nn.Module,
    data: object,
    *,
    objective: str | Objective = "standard",
    mean: Statistics | None = None,
    std: Statistics | None = None,
    ball: Ball | None = None,
    recipe: Recipe | None = None,
    optimiser: MakeOptimiser | None = None,
    architecture: str = "",
    folder: str | Path | None = None,
    save_every: int = 250,
    override: bool = False,
    tensorboard: bool = False,
) -> Training:
    """Train a module in place.

    Each step minimises the mean of the objective's per-example losses (eq. (2) of the
    chapter). A part of the training data is held out; after each epoch the accuracies, natural
    and under PGD-10, on it and on as many examples trained on are recorded, and weights and
    card written: those of the last epoch, and those of the best on the part held out.

    Called again with the same arguments and folder after a kill, it goes on from the last
    checkpoint; on the CPU, with one process and the same number of threads, it ends with the
    same bits. Started by ``torchrun`` or ``accelerate launch`` in several processes, these
    share each batch.

    Parameters
    ----------
    module
        Maps normalised inputs to logits; trained in place, every layer in training mode, and
        left so, with the average of its weights if the recipe keeps one.
    data
        Training data: a text, an (x, y) pair, or an object with ``len`` and slicing.
    objective
        An objective, or the text of one, as ``"trades,beta=6"``; by text it is for `ball`.
    mean, std
        Normalisation, in front of the module while it trains and in the card.
    ball
        The ball of the recorded accuracies under attack (default: the objective's own); its box
        is the one inputs live in.
    recipe
        Optimiser, schedule, split, seed and what else is orthogonal to the objective.
    optimiser
        Makes another optimiser than the recipe's of the list of parameters, as ``lambda p:
        torch.optim.AdamW(p, lr=1e-3)``; the schedule multiplies its rates.
    architecture
        The text from which `epsball.models.load` builds the module again, for the card; without
        it the card says what was trained but cannot load it.
    folder
        Where weights, cards (``card.json`` of the last epoch, ``best.json``), ``history.jsonl``,
        ``steps.jsonl``, ``curves.png`` and ``checkpoints/`` are written.
    save_every
        Steps between two checkpoints; each epoch ends with one, too.
    override
        Go on from a checkpoint of another configuration.
    tensorboard
        Write the log for TensorBoard, too (extra ``tensorboard``).

    Returns
    -------
    Training
        The classifier, its card, the history and the paths of the cards.

    Raises
    ------
    InputError
        If data, labels or options break a rule, the folder holds another training, a checkpoint
        is damaged, or the disk is full (the older checkpoints stay).
    EpsballError
        If a loss is not finite; the last checkpoint stays in `folder`.
    """
    check_count("save_every", save_every, unit="steps")
    recipe = recipe or Recipe()
    task, evaluation = prepare(module, data, objective, mean, std, ball, recipe, optimiser)
    place = None if folder is None else Path(folder)
    resolved = configuration(task, evaluation.ball, architecture)
    kept = checkpoint_to_resume(place, resolved, override)
    card = describe(task, resolved)
    with preserved(recipe.seed + task.processes.index):
        loop = Loop(
            stepper=Stepper(task),
            evaluation=evaluation,
            card=card,
            configuration=resolved,
            folder=place,
            save_every=save_every,
            tensorboard=tensorboard,
        )
        loop.go(kept)
    result = Training(
        classifier=task.classifier,
        card=with_history(card, loop.history, LAST),
        history=tuple(loop.history),
        checkpoint=None if place is None else place / LAST,
        best=None if place is None else place / BEST,
    )
    if place is not None and task.processes.first:
        write_atomically(place / FIGURE, png(result.plot()))
    return result
