"""`train`: one loop for every objective."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from epsball import data as datasets
from epsball import progress
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.classifier.guards import check_label_range
from epsball.classifier.normalise import Statistics
from epsball.errors import EpsballError, InputError, ModelError
from epsball.generators import preserved
from epsball.randomness import Keys
from epsball.training.checkpoint import describe, require_new, save, with_history
from epsball.training.evaluation import held_out_accuracy
from epsball.training.objective import Context, Objective
from epsball.training.optimisation import make_optimiser, make_schedule
from epsball.training.recipe import Recipe
from epsball.training.registry import resolve
from epsball.training.result import Epoch, Training


def train(
    module: torch.nn.Module,
    data: object,
    *,
    objective: str | Objective = "standard",
    mean: Statistics | None = None,
    std: Statistics | None = None,
    ball: Ball | None = None,
    recipe: Recipe | None = None,
    architecture: str = "",
    folder: str | Path | None = None,
) -> Training:
    """Train a module in place.

    Each step minimises the mean of the objective's per-example losses (eq. (2) of the
    chapter). A part of the training data is held out; after each epoch the natural accuracy
    and the accuracy under PGD-10 on it are recorded, and the weights and their card written.

    Parameters
    ----------
    module
        Maps normalised inputs to logits; trained in place, every layer in training mode, and
        left so.
    data
        Training data: a text, an (x, y) pair, or an object with ``len`` and slicing.
    objective
        An objective, or the name of one; by name it is for `ball`, with its defaults.
    mean, std
        Normalisation, in front of the module while it trains and in the card.
    ball
        The ball of the recorded accuracies under attack (default: the objective's own); its box
        is the one inputs live in.
    recipe
        Optimiser, schedule, split and seed.
    architecture
        The text from which `epsball.models.load` builds the module again, for the card; without
        it the card says what was trained but cannot load it.
    folder
        Where ``weights.safetensors``, ``card.json`` and ``history.jsonl`` are written; a folder
        that holds another training is refused.

    Returns
    -------
    Training
        The classifier, its card, the history and the path of the checkpoint.

    Raises
    ------
    InputError
        If data, labels or options break a rule.
    EpsballError
        If a loss is not finite; the weights of the last whole epoch stay in `folder`.
    """
    recipe = recipe or Recipe()
    objective = resolve(objective, ball)
    ball = ball or getattr(objective, "ball", None)
    dataset = datasets.load(data, split="train")
    classifier = Classifier(module, mean, std) if ball is None else Classifier(module, mean, std, ball.low, ball.high)
    if folder is not None:
        require_new(folder, module)
    fitted, held = split(len(dataset), recipe)
    x, y = dataset.take(held)
    check_label_range(dataset.labels, classifier.check(datasets.as_pixels(x), y))
    run = _Run(classifier, objective, dataset, fitted, recipe)
    card = describe(classifier, dataset, objective, recipe, ball, architecture)
    checkpoint = None
    history: list[Epoch] = []
    with preserved(recipe.seed):
        for epoch in range(recipe.epochs):
            loss, seconds = run.epoch(epoch)
            natural, attacked = held_out_accuracy(classifier, datasets.as_pixels(x), y, ball, recipe.seed)
            history.append(
                Epoch(
                    epoch=epoch + 1,
                    loss=loss,
                    lr=run.lr,
                    natural=natural,
                    under_attack=attacked,
                    seconds=seconds,
                )
            )
            card = with_history(card, history)
            checkpoint = None if folder is None else save(card, module, history, folder)
    return Training(classifier=classifier, card=card, history=tuple(history), checkpoint=checkpoint)


def split(n: int, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return the examples trained on and those held out, drawn by the recipe's seed."""
    held = max(1, round(recipe.holdout * n))
    if n - held < 1:
        raise InputError(f"{n} examples are too few to train on with holdout {recipe.holdout}; give at least 2.")
    order = Keys.of_positions(torch.arange(n), recipe.seed).derive("holdout").words.argsort()
    return order[held:].sort().values, order[:held].sort().values


@dataclass
class _Run:
    """The optimiser's side of a run: what goes on from one epoch to the next."""

    classifier: Classifier
    objective: Objective
    dataset: datasets.Dataset
    fitted: Tensor
    recipe: Recipe

    def __post_init__(self) -> None:
        recipe = self.recipe
        if recipe.batch_size > len(self.fitted):
            raise InputError(
                f"batch_size is {recipe.batch_size}, but only {len(self.fitted)} examples are trained on; "
                "choose a smaller batch."
            )
        self.batches = math.ceil(len(self.fitted) / recipe.batch_size)
        parameters = [p for p in self.classifier.network.parameters() if p.requires_grad]
        self.optimiser = make_optimiser(recipe.optimiser, parameters, recipe.lr, recipe.momentum, recipe.weight_decay)
        self.schedule = make_schedule(recipe.schedule, self.optimiser, recipe.epochs * self.batches)
        self.state: dict[str, object] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train through the data once; return the mean loss and the seconds it took."""
        begun, total = time.perf_counter(), torch.zeros((), dtype=torch.float64)
        try:
            self.classifier.network.train()
        except NotImplementedError as error:
            raise ModelError(
                f"the model cannot be put into training mode ({error}); train the original module."
            ) from error
        for number, rows in enumerate(self._order(epoch)):
            total += self._step(epoch, number, rows)
            progress.report(f"epoch {epoch + 1} of {self.recipe.epochs}", number + 1, self.batches)
        return float(total) / len(self.fitted), time.perf_counter() - begun

    def _order(self, epoch: int) -> Iterator[Tensor]:
        keys = Keys.of_positions(self.fitted, self.recipe.seed).derive("order", epoch)
        yield from self.fitted[keys.words.argsort()].tensor_split(self.batches)

    def _step(self, epoch: int, number: int, rows: Tensor) -> float:
        classifier, step = self.classifier, epoch * self.batches + number
        x, y = self.dataset.take(rows)
        x, y = classifier.adopt(datasets.as_pixels(x)), y.to(classifier.device)
        keys = Keys.of_positions(rows.to(classifier.device), self.recipe.seed).derive(step)
        losses = self.objective(classifier.network, x, y, Context(step=step, keys=keys, state=self.state))
        mean = losses.examples.sum() / len(rows)
        loss = mean if losses.weights is None else mean + losses.weights
        if not bool(torch.isfinite(loss)):
            raise EpsballError(
                f"the loss is {float(loss.detach())} at epoch {epoch + 1}, batch {number + 1} of {self.batches}: "
                "training diverged. Lower lr; the weights of the last whole epoch, if any, are kept."
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return float(losses.examples.detach().sum())
