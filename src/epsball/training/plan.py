"""What a training will cost, before it begins."""

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from epsball import results
from epsball.ball import Ball
from epsball.classifier.normalise import Statistics
from epsball.generator_state import preserved
from epsball.training.engine.optimisers import MakeOptimiser
from epsball.training.engine.recipe import Recipe
from epsball.training.engine.step import Stepper
from epsball.training.evaluation.certifier import SHARE
from epsball.training.objectives.objective import Objective
from epsball.training.prepare import prepare

if TYPE_CHECKING:
    import pyarrow

TRIALS, PATIENCE = 3, 10.0
"""Steps tried, fewer where they have taken so many seconds; the fastest counts, since the first also warms up."""


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
        Passes an example and step of the network trained, averaged over the steps tried.
    seconds
        Estimate of the time of all steps, from those tried.
    measuring
        Seconds at most for what is measured after each epoch, at the time a pass of a step took:
        PGD-10 on the examples held out and on as many trained on, as if none broke early, and
        certificates.
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
    """Return what `train` with these arguments would cost; a copy of the module takes the steps tried."""
    recipe = recipe or Recipe()
    task, evaluation = prepare(copy.deepcopy(module), data, objective, mean, std, ball, recipe, optimiser)
    with preserved(recipe.seed):
        stepper = Stepper(task)
        stepper.begin()
        counts = _Counts(stepper.network)
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
    """Counts the examples that go forward through a module, and backward from its output."""

    def __init__(self, network: nn.Module) -> None:
        self.forward = self.backward = 0
        network.register_forward_hook(self._seen)

    def _seen(self, network: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self.forward += len(output)
        if output.requires_grad and torch.is_grad_enabled():
            output.register_hook(self._went_back)

    def _went_back(self, gradient: Tensor) -> None:
        self.backward += len(gradient)
