"""Fast adversarial training: one step from a random start, watched for catastrophic overfitting."""

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy
from epsball.attacks.parts import step_size as rules
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import EpsballError, lookup
from epsball.module_state import evaluating
from epsball.training.objectives.inner_search import InnerSearch
from epsball.training.objectives.objective import Adversarial, Context, Losses

Collapse = Literal["pgd", "stop"]

COLLAPSED = 0.5
"""Catastrophic overfitting: PGD leaves less than this share of the batch's accuracy under the one step ..."""

APART = 0.3
"""... and the two accuracies differ by more than this, which rules out a network not yet trained."""


@dataclass(frozen=True, kw_only=True)
class FGSMRS(Adversarial):
    """Minimise the cross-entropy at one step of 1.25 radius from a uniform start.

    One-step training can collapse within an epoch: the module learns to resist that single step
    only, and its accuracy under PGD falls to zero. So every `every` steps PGD-`steps` is run on
    the current batch; if it leaves less than half of the accuracy under the single step, and more
    than 0.3 less, a warning says so and training continues with PGD-`steps`, or it stops.

    Parameters
    ----------
    ball
        The perturbation set trained for.
    step_size
        Of the single step.
    every
        Optimiser's steps between two checks.
    steps
        Steps of the PGD that checks and, after a collapse, trains.
    collapse
        ``"pgd"`` continues with PGD, ``"stop"`` ends the training.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.FGSMRS(ball=eb.Ball("linf", "8/255"), collapse="stop").step_size
    '1.25*radius'

    References
    ----------
    Wong, Rice and Kolter, "Fast is better than free: revisiting adversarial training", ICLR 2020.
    """

    name: ClassVar[str] = "fgsm-rs"

    ball: Ball
    step_size: rules.StepSize = "1.25*radius"
    every: int = 100
    steps: int = 10
    collapse: Collapse = "pgd"

    def __post_init__(self) -> None:
        check_count("every", self.every, unit="steps")
        lookup(dict.fromkeys(get_args(Collapse)), self.collapse, "answer to a collapse")
        self._one_step()
        self._pgd()

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the points of the single step, or of PGD after a collapse."""
        fallen = context.state.get("collapsed", False)
        x_adv = (self._pgd() if fallen else self._one_step())(module, lambda z: cross_entropy(z, y), x, context)
        if fallen or (context.step + 1) % self.every:
            return x_adv
        stronger = self._pgd()(module, lambda z: cross_entropy(z, y), x, context)
        counts = context.sum([_correct(module, x_adv, y), _correct(module, stronger, y)])
        weak, strong = (float(count) / context.total for count in counts)
        if strong >= COLLAPSED * weak or weak - strong <= APART:
            return x_adv
        self._announce(weak, strong, context)
        context.state["collapsed"] = True
        return stronger

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at `x_adv`."""
        return Losses(examples=context.cross_entropy(module(x_adv), y))

    def _announce(self, weak: float, strong: float, context: Context) -> None:
        seen = (
            f"catastrophic overfitting at step {context.step + 1}: accuracy {weak:.2f} under the one step, "
            f"{strong:.2f} under PGD-{self.steps}"
        )
        if self.collapse == "stop":
            raise EpsballError(f"{seen}. Train with 'pgd', or a smaller step_size; the last checkpoint is kept.")
        if context.processes.first:
            warnings.warn(f"{seen}; training continues with PGD-{self.steps}.", stacklevel=2)

    def _one_step(self) -> InnerSearch:
        return InnerSearch(ball=self.ball, steps=1, step_size=self.step_size, start="uniform")

    def _pgd(self) -> InnerSearch:
        return InnerSearch(ball=self.ball, steps=self.steps, step_size=rules.DEFAULT, start="uniform")


def _correct(module: nn.Module, points: Tensor, y: Tensor) -> Tensor:
    """Return how many points are classified correctly."""
    with evaluating(module), torch.no_grad():
        return (module(points).argmax(1) == y).sum()
