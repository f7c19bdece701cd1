"""Auto-PGD as an attack: untargeted, and towards each of the likeliest other classes."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.auto_pgd.ascent import climb
from epsball.attacks.auto_pgd.ascent_l1 import climb_l1
from epsball.attacks.engine.query import Query
from epsball.attacks.parts import starts
from epsball.attacks.parts.boundaries import likeliest
from epsball.attacks.parts.objective import Walkers
from epsball.attacks.parts.options import check_count
from epsball.ball import Ball
from epsball.randomness import Keys

SHORT = {"cross-entropy": "ce"}
L1_BALLS = ((3, 0.3), (2, 0.3), (1, 0.4))
"""In l1: radii as multiples of the ball's, and each one's share of the steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class APGD:
    """Auto-PGD: momentum, a step size that halves itself, and restarts from the best point.

    In l1 it is l1-APGD: steps of as many coordinates as the best point needs, in balls of three, two and
    one times the radius. K steps cost K backwards and K + 1 forwards (in l1, 3 forwards more than steps).

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
    """

    steps: int = 100
    restarts: int = 1
    loss: str | losses.Loss = "cross-entropy"
    tolerance: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        losses.resolve(self.loss)

    @property
    def name(self) -> str:
        """The name under which the ledger counts it: apgd-ce, apgd-dlr, apgd-margin, or apgd."""
        return f"apgd-{SHORT.get(self.loss, self.loss)}" if isinstance(self.loss, str) else "apgd"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the standing examples."""
        loss = losses.resolve(self.loss)
        for restart in range(self.restarts):
            query.begin(restart)
            walkers = Walkers(query, lambda logits, y, targets: loss(logits, y))
            auto_pgd(walkers, ball, keys[query.index].derive(restart), self.steps)


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetedAPGD:
    """Auto-PGD towards each of the classes that are likeliest at the example, one after the other.

    Parameters
    ----------
    steps
        Number of steps for a target.
    targets
        How many classes besides the label, at most (published: 9; for l1 5).
    restarts
        Number of random starts for a target.
    loss
        ``"targeted-dlr"`` (published), ``"targeted-margin"``, or a callable (logits, y, targets) -> (n,).

    References
    ----------
    As for `APGD`.
    """

    steps: int = 100
    targets: int = 9
    restarts: int = 1
    loss: str | losses.TargetedLoss = "targeted-dlr"
    tolerance: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("targets", self.targets)
        check_count("restarts", self.restarts)
        losses.resolve_targeted(self.loss)

    @property
    def name(self) -> str:
        """The name under which the ledger counts it."""
        return "apgd-t"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the standing examples, target by target."""
        loss = losses.resolve_targeted(self.loss)
        query.begin(0)
        classes = likeliest_others(query, self.targets)
        for run in range(classes.shape[1] * self.restarts):
            query.begin(run)
            target = classes[query.index, run // self.restarts]
            auto_pgd(Walkers(query, loss, targets=target), ball, keys[query.index].derive(run), self.steps)


def likeliest_others(query: Query, count: int) -> Int64[Tensor, "total k"]:
    """Return the classes of highest logit besides the label, by position in the call's x, at one forward each."""
    index, y = query.index, query.y
    classes = torch.zeros(query.total, min(count, query.classes - 1), dtype=torch.int64, device=index.device)
    classes[index] = likeliest(query.logits(query.x), y, count)
    return classes


def auto_pgd(walkers: Walkers, ball: Ball, keys: Keys, steps: int) -> None:
    """Run Auto-PGD as published for the ball's norm, from its own random start."""
    if ball.norm != "l1":
        neighbourhood = walkers.neighbourhood
        start = starts.surface(neighbourhood, keys, walkers.index)
        climb(walkers, start, neighbourhood, steps, 2 * neighbourhood.radius)
        return
    widest = _widened(ball, L1_BALLS[0][0]).at(walkers.neighbourhood.x)
    points = starts.gaussian(1.0)(widest, keys, walkers.index)
    for (factor, _), share in zip(L1_BALLS, _shares(steps), strict=True):
        if share and len(points):
            neighbourhood = _widened(ball, factor).at(walkers.neighbourhood.x)
            points = climb_l1(walkers, neighbourhood.project(points), neighbourhood, share)


def climb_from(points: Float[Tensor, "m *shape"], walkers: Walkers, steps: int) -> None:
    """Run Auto-PGD in the ball itself from given points, its first step as long as the radius."""
    neighbourhood = walkers.neighbourhood
    if neighbourhood.norm.order == 1:
        climb_l1(walkers, points, neighbourhood, steps)
    else:
        climb(walkers, points, neighbourhood, steps, neighbourhood.radius)


def _widened(ball: Ball, factor: int) -> Ball:
    return Ball(ball.norm, factor * ball.radius, ball.low, ball.high)


def _shares(steps: int) -> list[int]:
    """Return each ball's steps: shares rounded up while one is left for the last, which gets the rest."""
    shares, left = [], steps - 1
    for _, share in L1_BALLS[:-1]:
        shares.append(min(math.ceil(share * steps), left))
        left -= shares[-1]
    return [*shares, left + 1]
