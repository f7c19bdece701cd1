"""The momentum iterative method: the PGD loop on an accumulated gradient."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts import starts
from epsball.attacks.parts import step_size as rules
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.objective import RowObjective, untargeted
from epsball.attacks.parts.pgd_loop import Evaluate, ascend
from epsball.attacks.parts.tensors import column
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import InputError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class MomentumPGD(Attack):
    """MI-FGSM: PGD along g_{k+1} = decay g_k + gradient / norm_1(gradient).

    The default is as published: steps of radius / steps from the example itself, which reach the surface of
    the ball but cannot turn back.

    Parameters
    ----------
    steps, restarts, step_size, loss, start
        As for `epsball.attacks.PGD`.
    decay
        mu, the weight of the accumulated gradient; 0 is PGD.

    References
    ----------
    Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, algorithm 1.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.MomentumPGD(steps=5)).broken
    tensor([True])
    """

    tolerance: ClassVar[float | None] = 0.01

    steps: int = 10
    restarts: int = 1
    step_size: rules.StepSize = "radius/steps"
    loss: losses.LossName | losses.Loss = "cross-entropy"
    start: starts.StartName | starts.Start = "none"
    decay: float = 1.0

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        losses.resolve(self.loss)
        starts.resolve(self.start)
        if not (math.isfinite(self.decay) and self.decay >= 0):
            raise InputError(f"decay is {self.decay}; it is the weight of the previous gradients, at least 0.")

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return f"mi-fgsm-{self.steps}"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        loss, start = untargeted(losses.resolve(self.loss)), starts.resolve(self.start)
        step_sizes = [rules.step_size(self.step_size, ball, self.steps)] * self.steps
        for restart in range(self.restarts):
            query.begin(restart)
            objective = RowObjective(query, loss)
            first = start(query.neighbourhood, keys[query.index].derive(restart), query.index)
            last, _ = ascend(accumulated(objective.gradient, self.decay), first, query.neighbourhood, step_sizes)
            query.logits(last)


def accumulated(evaluate: Evaluate, decay: float) -> Evaluate:
    """Return an evaluation of accumulated gradients: decay times the previous ones plus the new ones of l1 length 1."""
    before: list[Tensor] = []

    def with_momentum(points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        value, gradient, going_on = evaluate(points)
        length = gradient.flatten(1).abs().sum(1)
        gradient = gradient / column(length.masked_fill(length == 0, 1.0), gradient)
        if before:
            gradient = gradient.add(before.pop(), alpha=decay)
        before.append(gradient if going_on is None else gradient[going_on])
        return value, gradient, going_on

    return with_momentum
