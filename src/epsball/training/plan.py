"""What a training will cost, before it begins."""

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from epsball import results
from epsball.ball import Ball
from epsball.classifier.normalise import Statistics
from epsball.generator_state import preserved
from epsball.recipe import Recipe
from epsball.training.engine.optimisers import MakeOptimiser
from epsball.training.engine.step import Stepper
from epsball.training.evaluation.certifier import SHARE
from epsball.training.objectives.objective import Objective
from epsball.training.prepare import prepare

if TYPE_CHECKING:
    import pyarrow

TRIALS, PATIENCE = 3, 10.0
"""Steps tried, and seconds after which no further step is timed; the fastest counts: the first one also warms up."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan(results.Result):
    """Steps, passes and time of a training.

    Parameters
    ----------
    steps, epochs
        Of the optimiser; passes over the training part.
    examples
        Examples trained on.
    forward, backward
        Passes of the trained network per example and step, averaged over the steps tried.
    seconds
        Estimated time of all steps, from those tried.
    measuring
        Largest time in seconds of what is measured after the epochs, from the time per pass of the
        steps tried: PGD-10 on the examples held out and on as many trained on, as if none broke
        early, and certificates.

    Examples
    --------
    >>> from epsball.training import Plan
    >>> plan = Plan(steps=2, epochs=1, examples=18, forward=2.0, backward=2.0, seconds=0.1, measuring=0.1)
    >>> plan.to_arrow().num_rows
    1
    """

    steps: int
    epochs: int
    examples: int
    forward: float
    backward: float
    seconds: float
    measuring: float

    def __str__(self) -> str:
        rows = [
            ("steps", str(self.steps)),
            ("epochs", str(self.epochs)),
            ("examples trained on", str(self.examples)),
            ("forward passes per example and step", f"{self.forward:.1f}"),
            ("backward passes per example and step", f"{self.backward:.1f}"),
            ("estimated time of the steps", f"{self.seconds / 60:.1f} minutes"),
            ("of what is measured after each epoch, at most", f"{self.measuring / 60:.1f} minutes in all"),
        ]
        return results.text_table(("plan", ""), rows)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row: every number of the plan."""
        return results.arrow_table({name: [value] for name, value in vars(self).items()})

    def to_json(self) -> dict[str, object]:
        """Return the plan as JSON's types."""
        return results.jsonable(self)


def plan(
    module: nn.Module,
    data: object,
    *,
    objective: str | Objective = "standard",
    mean: Statistics | None = None,
    std: Statistics | None = None,
    ball: Ball | None = None,
    recipe: Recipe | None = None,
    optimiser: MakeOptimiser | None = None,
) -> Plan:
    """Return what `train` would cost with these arguments; the steps are tried on a copy of the module.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, ball = torch.linspace(0, 1, 40).view(20, 2), eb.Ball("linf", 0.1)
    >>> recipe = eb.training.Recipe(epochs=2, batch_size=9)
    >>> data = x, (x[:, 0] > 0.5).long()
    >>> plan = eb.training.plan(torch.nn.Linear(2, 2), data, objective="pgd,steps=3", ball=ball, recipe=recipe)
    >>> plan.steps, plan.forward, plan.backward
    (4, 4.0, 4.0)
    """
    recipe = recipe or Recipe()
    task, evaluation = prepare(copy.deepcopy(module), data, objective, mean, std, ball, recipe, optimiser)
    with preserved(recipe.seed):
        stepper = Stepper(task)
        stepper.begin()
        counts = _Counts(stepper.network, stepper.cache)
        seconds: list[float] = []
        while len(seconds) < min(TRIALS, stepper.batches.total) and sum(seconds) < PATIENCE:
            begun = time.perf_counter()
            stepper.advance()
            stepper.drain()
            seconds.append(time.perf_counter() - begun)
    seen = sum(len(stepper.batches[step]) for step in range(stepper.step))
    a_pass = min(seconds) * stepper.step / (counts.forward + counts.backward)
    training = min(seconds) * stepper.batches.total
    certificates = 0.0 if evaluation.ball is None else SHARE * training
    return Plan(
        steps=stepper.batches.total,
        epochs=recipe.epochs,
        examples=len(task.fitted),
        forward=counts.forward / seen,
        backward=counts.backward / seen,
        seconds=training,
        measuring=a_pass * evaluation.passes * recipe.epochs + certificates,
    )


class _Counts:
    """Counts the examples that go forward through a module, and backward from its output.

    Objectives record those of the captured network in the run's cache.
    """

    def __init__(self, network: nn.Module, cache: dict[Any, Any]) -> None:
        self._forward = self._backward = 0
        self._recorded = cache.setdefault("passes", [0, 0])
        self._recorded[:] = [0, 0]
        network.register_forward_hook(self._seen)

    @property
    def forward(self) -> int:
        """Passes forward."""
        return self._forward + self._recorded[0]

    @property
    def backward(self) -> int:
        """Passes back."""
        return self._backward + self._recorded[1]

    def _seen(self, network: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self._forward += len(output)
        if output.requires_grad and torch.is_grad_enabled():
            output.register_hook(self._went_back)

    def _went_back(self, gradient: Tensor) -> None:
        self._backward += len(gradient)
