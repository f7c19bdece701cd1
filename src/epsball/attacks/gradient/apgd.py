"""Auto-PGD as an attack: untargeted, and towards each of the likeliest other classes."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.auto_pgd.ascent import auto_pgd
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.boundaries import likeliest
from epsball.attacks.parts.objective import RowObjective, untargeted
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.randomness import Keys

SHORT = {"cross-entropy": "ce"}


@dataclass(frozen=True, kw_only=True, eq=False)
class APGD(Attack):
    """Auto-PGD: momentum, a step size that halves itself, and restarts from the best point.

    In l1 it is l1-APGD: steps of as many coordinates as the best point needs, in balls of three, two and
    one times the radius. K steps cost K backwards and K + 1 forwards (in l1, K + 3).

    Parameters
    ----------
    steps
        Number of steps K, at least 1.
    restarts
        Number of random starts.
    loss
        ``"cross-entropy"``, ``"dlr"``, ``"margin"``, or a callable (logits, y) -> (n,) to ascend.

    References
    ----------
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020; "Mind the box: l1-APGD for sparse adversarial attacks on image
    classifiers", ICML 2021.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.APGD(steps=10, loss="dlr")).broken
    tensor([True])
    """

    tolerance: ClassVar[float | None] = 0.01

    steps: int = 100
    restarts: int = 1
    loss: losses.LossName | losses.Loss = "cross-entropy"

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        losses.resolve(self.loss)

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it: apgd-ce, apgd-dlr, apgd-margin, or apgd."""
        return f"apgd-{SHORT.get(self.loss, self.loss)}" if isinstance(self.loss, str) else "apgd"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        loss = untargeted(losses.resolve(self.loss))
        for restart in range(self.restarts):
            query.begin(restart)
            auto_pgd(RowObjective(query, loss), ball, keys[query.index].derive(restart), self.steps)


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetedAPGD(Attack):
    """Auto-PGD towards each of the likeliest other classes at the example, one after the other.

    Parameters
    ----------
    steps
        Number of steps per target.
    targets
        Number of classes other than the label, at most (published: 9, in l1 5).
    restarts
        Number of random starts per target.
    loss
        ``"targeted-dlr"`` (published), ``"targeted-margin"``, or a callable (logits, y, targets) -> (n,).

    References
    ----------
    As for `APGD`.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.TargetedAPGD(steps=10, targets=2)).broken
    tensor([True])
    """

    name: ClassVar[str] = "apgd-t"
    tolerance: ClassVar[float | None] = 0.01

    steps: int = 100
    targets: int = 9
    restarts: int = 1
    loss: losses.TargetedLossName | losses.TargetedLoss = "targeted-dlr"

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("targets", self.targets)
        check_count("restarts", self.restarts)
        losses.resolve_targeted(self.loss)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples, target by target."""
        loss = losses.resolve_targeted(self.loss)
        query.begin(0)
        classes = likeliest_others(query, self.targets)
        for run in range(classes.shape[1] * self.restarts):
            query.begin(run)
            target = classes[query.index, run // self.restarts]
            aimed = torch.nonzero(target >= 0)[:, 0]
            if not len(aimed):
                continue
            own = keys[query.index[aimed]].derive(run)
            owners = None if len(aimed) == len(target) else aimed
            auto_pgd(RowObjective(query, loss, owners, target[aimed]), ball, own, self.steps)


def likeliest_others(query: Query, count: int) -> Int64[Tensor, "total k"]:
    """Return the classes of highest logit other than the label, by position in the call's x; one forward each.

    -1 stands for a class that is masked at the example.
    """
    index, y = query.index, query.y
    logits = query.logits(query.x)
    found = likeliest(logits, y, count)
    classes = torch.zeros(query.total, found.shape[1], dtype=torch.int64, device=index.device)
    classes[index] = torch.where(logits.gather(1, found) == -torch.inf, -1, found)
    return classes
