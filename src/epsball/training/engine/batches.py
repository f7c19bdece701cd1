"""Which examples are held out, and which a step trains on."""

import math

import torch
from torch import Tensor

from epsball.errors import InputError
from epsball.randomness import Keys
from epsball.recipe import Recipe


def split(n: int, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return the examples trained on and those held out, drawn by the recipe's seed.

    Raises
    ------
    InputError
        If nothing is left to train on.
    """
    held = max(1, round(recipe.holdout * n))
    if n - held < 1:
        raise InputError(f"{n} examples are too few to train on with holdout {recipe.holdout}; give at least 2.")
    order = Keys.of_positions(torch.arange(n), recipe.seed).derive("holdout").words.argsort()
    return order[held:].sort().values, order[:held].sort().values


def number_of_batches(examples: int, recipe: Recipe) -> int:
    """Return in how many batches of the recipe's size an epoch takes its examples."""
    return math.ceil(examples / recipe.batch_size)


class Batches:
    """The global batch of every step: a function of the seed and the step's number.

    Each epoch takes all examples in a new order, in batches that differ by at most one example. Where the
    last ones would be smaller than `fewest`, there are fewer and larger ones.

    Parameters
    ----------
    fitted
        The examples trained on.
    recipe
        Its `batch_size` and `seed`.
    replays
        Steps in a row on each batch.
    fewest
        The least number of rows of a batch.

    Raises
    ------
    InputError
        If the batches would be larger than the data, or smaller than `fewest`.
    """

    def __init__(self, fitted: Tensor, recipe: Recipe, replays: int = 1, fewest: int = 1) -> None:
        if recipe.batch_size > len(fitted):
            raise InputError(
                f"batch_size is {recipe.batch_size}, but only {len(fitted)} examples are trained on; "
                "choose a smaller batch."
            )
        self._fitted, self._recipe, self._replays = fitted, recipe, replays
        if min(recipe.batch_size, len(fitted)) < fewest:
            raise InputError(
                f"batch_size is {recipe.batch_size} for {len(fitted)} examples, but in training mode the model fails "
                f"on a single row (batch norm has no variance there): give batches of at least {fewest}, or take "
                "another normalisation layer."
            )
        self._count = min(number_of_batches(len(fitted), recipe), len(fitted) // fewest)
        self._epoch, self._batches = -1, ()
        self.per_epoch = self._count * replays
        self.total = self.per_epoch * recipe.epochs

    def first_of(self, step: int) -> int:
        """Return the first step on the batch of a step."""
        return step - step % self._replays

    def __getitem__(self, step: int) -> Tensor:
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            keys = Keys.of_positions(self._fitted, self._recipe.seed).derive("order", epoch)
            self._epoch, self._batches = epoch, self._fitted[keys.words.argsort()].tensor_split(self._count)
        return self._batches[number // self._replays]
