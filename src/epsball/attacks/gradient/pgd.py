"""Projected gradient descent as an attack, and its one-step forms."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query, QueryLoss
from epsball.attacks.parts import starts
from epsball.attacks.parts import step_size as rules
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.objective import of_labels
from epsball.attacks.parts.pgd_loop import ascend
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import InputError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class PGD(Attack):
    """Projected gradient descent with restarts (17.1.1 of the chapter).

    K steps cost K backward and K + 1 forward passes: the last iterate is evaluated as well.

    Parameters
    ----------
    steps
        Number of steps K, at least 1.
    restarts
        Number of starts; the worst point over all of them is kept.
    step_size
        A number in units of the ball's norm, or a rule such as ``"2.5*radius/steps"``.
    loss
        ``"cross-entropy"``, ``"margin"``, ``"dlr"``, ``"rescaled-cross-entropy"``, or a callable
        (logits, y) -> (n,) to ascend.
    start
        ``"uniform"``, ``"surface"``, ``"gaussian"``, ``"none"``, points (n, *shape), or a start of
        `epsball.attacks.parts.starts`.
    targets
        Target classes (n,), one per example of the call: the loss of the target class is
        descended instead. Any misclassification in the ball still counts.

    References
    ----------
    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    Kurakin, Goodfellow and Bengio, "Adversarial machine learning at scale", ICLR 2017.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.PGD(steps=10, restarts=2)).broken
    tensor([True])
    """

    steps: int = 40
    restarts: int = 1
    step_size: rules.StepSize = rules.DEFAULT
    loss: losses.LossName | losses.Loss = "cross-entropy"
    start: starts.StartName | Tensor | starts.Start = "uniform"
    targets: Tensor | None = None

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        losses.resolve(self.loss)
        starts.resolve(self.start)

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return f"pgd-{self.steps}"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        step_sizes = [rules.step_size(self.step_size, ball, self.steps)] * self.steps
        if isinstance(self.start, Tensor) and len(self.start) != query.total:
            raise InputError(
                f"the given start has {len(self.start)} points; expected one for each of {query.total} examples."
            )
        start = starts.resolve(self.start)
        loss = self._loss(query)

        def evaluate(points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            _, (value,), (gradient,) = query.gradient(points, [loss])
            return value, gradient, query.going_on

        for restart in range(self.restarts):
            query.begin(restart)
            first = start(query.neighbourhood, keys[query.index].derive(restart), query.index)
            last, _ = ascend(evaluate, first, query.neighbourhood, step_sizes)
            query.logits(last)

    def _loss(self, query: Query) -> QueryLoss:
        """Return the loss of (logits, points, rows) that this attack ascends on `query`."""
        loss = losses.resolve(self.loss)
        if self.targets is None:
            return of_labels(query, loss)
        targets = self._checked_targets(query)

        def towards(logits: Tensor, points: Tensor, rows: Tensor | None) -> Tensor:
            target = targets[query.index]
            return -loss(logits, target if rows is None else target[rows])

        return towards

    def _checked_targets(self, query: Query) -> Tensor:
        targets = self.targets
        if not isinstance(targets, Tensor):
            raise InputError(f"targets are a {type(targets).__name__}; give a tensor of one integer class per example.")
        if targets.shape != (query.total,) or targets.is_floating_point() or targets.dtype == torch.bool:
            raise InputError(
                f"targets are {tuple(targets.shape)}, {targets.dtype}; "
                f"expected one integer class for each of {query.total} examples."
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= query.classes:
            raise InputError(f"targets lie in {low}..{high}, but the model has classes 0..{query.classes - 1}.")
        targets = targets.to(query.x.device).long()
        own = query.index[targets[query.index] == query.y]
        if len(own):
            raise InputError(
                f"the target of example {int(own[0])} is {int(targets[own[0]])}, its own label: the search would move "
                "away from the boundary. Give another class."
            )
        return targets


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """The fast gradient sign method: one PGD step as long as the radius, from the example itself.

    Parameters
    ----------
    loss
        As for `PGD`.

    References
    ----------
    Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.FGSM()).broken
    tensor([True])
    """

    name: ClassVar[str] = "fgsm"
    tolerance: ClassVar[float | None] = 0.01

    loss: losses.LossName | losses.Loss = "cross-entropy"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Take the step for the active examples."""
        PGD(steps=1, start="none", step_size="radius", loss=self.loss)(query, ball, keys=keys)


@dataclass(frozen=True, kw_only=True)
class RandomisedFGSM(Attack):
    """One PGD step of 1.25 times the radius, from a uniform start.

    Parameters
    ----------
    restarts, loss
        As for `PGD`.

    References
    ----------
    Wong, Rice and Kolter, "Fast is better than free", ICLR 2020.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.RandomisedFGSM()).broken
    tensor([True])
    """

    name: ClassVar[str] = "fgsm-rs"

    restarts: int = 1
    loss: losses.LossName | losses.Loss = "cross-entropy"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Take the step for the active examples."""
        one = PGD(steps=1, start="uniform", step_size="1.25*radius", restarts=self.restarts, loss=self.loss)
        one(query, ball, keys=keys)
