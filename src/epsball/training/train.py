"""`train`: one loop for every objective."""

from pathlib import Path

import torch

from epsball.ball import Ball
from epsball.checks import check_count
from epsball.classifier.normalise import Statistics
from epsball.figures import png
from epsball.files import write_atomically
from epsball.generator_state import preserved
from epsball.interruption import carrying
from epsball.recipe import Recipe
from epsball.training.engine.optimisers import MakeOptimiser
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
    parent: str | None = None,
) -> Training:
    """Train a module in place.

    Each step minimises the mean of the objective's per-example losses (eq. (2) of the
    chapter). A part of the training data is held out. After each epoch the accuracies, natural
    and under PGD-10, on it and on as many examples trained on are recorded, and weights and
    cards are written: of the last epoch, and of the best one on the part held out.

    Called again with the same arguments and folder after a kill, it resumes from the last
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
        An objective, or a text such as ``"trades,beta=6"``, which names one for `ball`.
    mean, std
        Normalisation, in front of the module while it trains and in the card.
    ball
        The ball of the recorded accuracies under attack (default: the objective's own); its box
        is the one inputs live in.
    recipe
        Optimiser, schedule, split, seed and everything else that is independent of the objective.
    optimiser
        Makes the optimiser from the list of parameters, in place of the recipe's: ``lambda p:
        torch.optim.AdamW(p, lr=1e-3)``. The schedule multiplies its rates.
    architecture
        The text from which `epsball.models.load` builds the module again, for the card; without
        it the card says what was trained but cannot load it.
    folder
        Where weights, cards (``card.json`` of the last epoch, ``best.json``), ``history.jsonl``,
        ``steps.jsonl``, ``curves.png`` and ``checkpoints/`` are written.
    save_every
        Steps between two checkpoints; each epoch ends with one, too.
    override
        Resume from a checkpoint of another configuration.
    tensorboard
        Also write the log for TensorBoard (extra ``tensorboard``).
    parent
        The card of the network whose weights the module has, relative to the folder, for the card.

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
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `Training` of the epochs measured before, None before the first.
        A measurement that was interrupted is not one of them.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, ball = torch.linspace(0, 1, 40).view(20, 2), eb.Ball("linf", 0.1)
    >>> data = x, (x[:, 0] > 0.5).long()
    >>> recipe = eb.training.Recipe(epochs=2, batch_size=9)
    >>> result = eb.train(torch.nn.Linear(2, 2), data, objective="pgd,steps=3", ball=ball, recipe=recipe)
    >>> [epoch.epoch for epoch in result.history]
    [1, 2]
    """
    check_count("save_every", save_every, unit="steps")
    recipe = recipe or Recipe()
    with carrying(lambda: None):
        task, evaluation = prepare(module, data, objective, mean, std, ball, recipe, optimiser)
        place = None if folder is None else Path(folder)
        resolved = configuration(task, evaluation.ball, architecture, parent)
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
        with carrying(lambda: _training(loop, interrupted=True) if loop.history else None):
            loop.go(kept)
    result = _training(loop, interrupted=False)
    if place is not None and task.processes.first:
        write_atomically(place / FIGURE, png(result.plot()))
    return result


def _training(loop: Loop, *, interrupted: bool) -> Training:
    """Return the training of a loop, of which at least one epoch is measured."""
    place = loop.folder
    return Training(
        classifier=loop.stepper.task.classifier,
        card=with_history(loop.card, loop.history, LAST),
        history=tuple(loop.history),
        checkpoint=None if place is None else place / LAST,
        best=None if place is None else place / BEST,
        interrupted=interrupted,
    )
