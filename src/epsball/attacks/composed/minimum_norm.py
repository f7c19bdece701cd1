"""`MinimumNorm`: minimum-norm attacks one after the other, and the boundary walked from the nearest point found."""

from dataclasses import dataclass
from typing import ClassVar

from epsball.attacks.engine.query import Query
from epsball.attacks.minimum_norm.fab import FAB
from epsball.attacks.minimum_norm.fmn import FMN
from epsball.attacks.minimum_norm.pdpgd import PDPGD
from epsball.attacks.parts.attack import Attack, Domain, StagedAttack
from epsball.attacks.parts.boundaries import likeliest
from epsball.attacks.parts.tensors import take_rows
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import InputError
from epsball.randomness import Keys

_CLASSES = 9
"""Boundaries considered per step from the examples: all of them for ten classes."""


@dataclass(frozen=True, kw_only=True)
class MinimumNorm(StagedAttack):
    """An ensemble of minimum-norm attacks that keeps the nearest point of each example and refines it.

    1. FAB from x, towards the nearest boundary with any of the nine likeliest other classes: cheap, and almost
       enough where the model is close to linear.
    2. FMN from x, another path through the same landscape; in linf also from three random corners.
    3. PDPGD, which goes far out and comes back: where gradients near x are masked, it finds boundaries that
       paths from x do not.
    4. FAB from the nearest point that 1 to 3 found, towards its predicted class: each step goes to the
       linearised boundary with a bias towards x, so that the point slides along the boundary.

    Their shares of the passes, in per cent: 13, 70, 0, 16 in linf; 13, 12, 50, 24 in l2; 3, 0, 80, 16 in l1.

    Parameters
    ----------
    steps
        Pairs of one forward and one backward pass per example; at least 40. PDPGD's weights
        need about 150 steps of its own to come back: 400 and more are advised.

    References
    ----------
    Of the parts: see `FAB`, `FMN` and `PDPGD`. That no single attack is best everywhere: Cinà et al.,
    "AttackBench: evaluating gradient-based attacks for adversarial examples", AAAI 2025.

    Examples
    --------
    >>> import epsball as eb
    >>> [stage.name for stage in eb.attacks.MinimumNorm(steps=400).stages(eb.Ball("l2", 1.0))]
    ['fab from x', 'fmn', 'pdpgd', 'fab from the nearest']
    """

    name: ClassVar[str] = "minimum-norm"
    domain: ClassVar[Domain] = "box"
    tolerance: ClassVar[float | None] = 0.051

    steps: int = 500

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if self.steps < 40:
            raise InputError(f"steps is {self.steps}; its four stages need at least 40.")

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""

        def passes(share: float, each: int, runs: int = 1) -> int:
            """Return the number of steps, at `each` passes, that a share of all passes pays for."""
            return max(1, int(share * 2 * self.steps / (each * runs)))

        broad = FromExamples(steps=passes(0.03 if ball.norm == "l1" else 0.13, 2 + _CLASSES))
        if ball.norm == "linf":
            return (broad, FMN(steps=passes(0.70, 2, 4), restarts=4), FromNearest(steps=passes(0.16, 3)))
        if ball.norm == "l2":
            paths = (FMN(steps=passes(0.12, 2)), PDPGD(steps=passes(0.50, 2)))
            return (broad, *paths, FromNearest(steps=passes(0.24, 3)))
        return (broad, PDPGD(steps=passes(0.80, 2)), FromNearest(steps=passes(0.16, 3)))


@dataclass(frozen=True, kw_only=True)
class FromExamples(Attack):
    """FAB from x, each step to the nearest of the boundaries with the likeliest other classes."""

    name: ClassVar[str] = "fab from x"

    steps: int

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        targets = likeliest(query.logits(query.x), query.y, _CLASSES)
        (targets,) = take_rows(query.going_on, targets)
        FAB(steps=self.steps).run(query, ball, targets, query.x)


@dataclass(frozen=True, kw_only=True)
class FromNearest(Attack):
    """FAB from the nearest adversarial point found so far, towards its predicted class."""

    name: ClassVar[str] = "fab from the nearest"

    steps: int

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples; from x itself where no point was found."""
        points, _ = query.nearest()
        targets = likeliest(query.logits(points), query.y, 1)
        points, targets = take_rows(query.going_on, points, targets)
        FAB(steps=self.steps).run(query, ball, targets, points)
