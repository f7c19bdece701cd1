"""AutoAttack in its published compositions and budgets, so that a result may be quoted as AutoAttack's."""

from dataclasses import dataclass
from typing import ClassVar

from epsball.attacks.black_box.square import Square
from epsball.attacks.composed.stages import run_stages
from epsball.attacks.engine.averaged import GradientNoise
from epsball.attacks.engine.query import Query
from epsball.attacks.gradient.apgd import APGD, TargetedAPGD
from epsball.attacks.minimum_norm.fab import TargetedFAB
from epsball.attacks.parts.protocol import Attack
from epsball.ball import Ball
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """AutoAttack, version standard: APGD-CE, APGD-T, FAB-T and Square, each on what the one before left.

    linf and l2: 100 steps of APGD on the cross-entropy from one start, on the targeted DLR loss towards 9
    classes, FAB-T of 100 steps towards 9 classes, and 5,000 queries of Square. l1: five starts of l1-APGD
    and 5 target classes. It has no options: other budgets are another attack.

    References
    ----------
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020; for l1 "Mind the box", ICML 2021.
    """

    tolerance: ClassVar[float] = 0.01

    @property
    def name(self) -> str:
        """The name of the whole; the ledger counts its stages."""
        return "autoattack"

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        restarts, targets = (5, 5) if ball.norm == "l1" else (1, 9)
        return (APGD(restarts=restarts), TargetedAPGD(targets=targets), TargetedFAB(), Square())

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the stages on the standing examples."""
        run_stages(self.stages(ball), query, ball, keys)


@dataclass(frozen=True, kw_only=True)
class RandomisedAutoAttack:
    """AutoAttack, version rand, for models that draw random numbers: APGD on cross-entropy and on DLR.

    100 steps from one start each, every gradient, and every loss that is compared, the mean over `samples`
    evaluations (the released code compares the last one's). In l1 both go through l1-APGD's three balls, as in
    version standard, where the released code stays in the smallest.

    References
    ----------
    As for `AutoAttack`.
    """

    samples: ClassVar[int] = 20
    tolerance: ClassVar[float] = 0.01

    @property
    def name(self) -> str:
        """The name of the whole; the ledger counts its stages."""
        return "autoattack-rand"

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        return (APGD(), APGD(loss="dlr"))

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the stages on the standing examples, their gradients averaged."""
        run_stages(self.stages(ball), query.averaged(self.samples, GradientNoise()), ball, keys)
