"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from epsball.errors import InputError, lookup
from epsball.names import OptimiserName, ScheduleName
from epsball.recipe import Recipe


def _constant(progress: float) -> float:
    return 1.0


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _piecewise(progress: float) -> float:
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def _one_cycle(progress: float) -> float:
    return progress / 0.4 if progress < 0.4 else (1.0 - progress) / 0.6


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "piecewise": _piecewise,
    "one-cycle": _one_cycle,
}
"""Factor of the learning rate as a function of the share of steps taken (piecewise: divided by 10 at 1/2 and 3/4)."""

MakeOptimiser = Callable[[list[nn.Parameter]], Optimizer]
"""Makes the optimiser of the parameters that are trained."""


def recipe_optimiser(recipe: Recipe) -> MakeOptimiser:
    """Return a maker of SGD (with Nesterov momentum if there is momentum) or Adam.

    Raises
    ------
    InputError
        If the name is unknown or a number is out of range.
    """
    lr, momentum, decay = recipe.lr, recipe.momentum, recipe.weight_decay
    if not (math.isfinite(lr) and lr > 0):
        raise InputError(f"lr is {lr}; the learning rate must be positive.")
    if not 0 <= momentum < 1 or not decay >= 0:
        raise InputError(f"momentum is {momentum}, weight_decay {decay}; need 0 <= momentum < 1, decay >= 0.")
    lookup(dict.fromkeys(get_args(OptimiserName)), recipe.optimiser, "optimiser")
    if recipe.optimiser == "sgd":
        return lambda parameters: SGD(parameters, lr, momentum=momentum, weight_decay=decay, nesterov=momentum > 0)
    return lambda parameters: Adam(parameters, lr, weight_decay=decay)


def describe_optimiser(make: MakeOptimiser) -> dict[str, Any]:
    """Return the class and the defaults of an optimiser, for the record of a run."""
    made = make([nn.Parameter(torch.zeros(1))])
    return {"class": type(made).__name__, **{key: str(value) for key, value in made.defaults.items()}}


def make_schedule(name: ScheduleName, optimiser: Optimizer, steps: int) -> LambdaLR:
    """Return the schedule of this name over `steps` steps.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    factor = lookup(SCHEDULES, name, "schedule")
    # Half a step ahead: a one-cycle schedule would otherwise begin with a rate of zero.
    return LambdaLR(optimiser, lambda step: factor(min(1.0, (step + 0.5) / steps)))
