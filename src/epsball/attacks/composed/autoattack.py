"""AutoAttack in its published compositions and budgets, so that a result may be quoted as AutoAttack's."""

from dataclasses import dataclass
from typing import ClassVar

from epsball.attacks.black_box.square import Square
from epsball.attacks.engine.evaluator import GradientNoise
from epsball.attacks.engine.query import Query
from epsball.attacks.gradient.apgd import APGD, TargetedAPGD
from epsball.attacks.minimum_norm.fab import TargetedFAB
from epsball.attacks.parts.attack import Attack, StagedAttack
from epsball.ball import Ball
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class AutoAttack(StagedAttack):
    """AutoAttack, version standard: APGD-CE, APGD-T, FAB-T and Square, each on what the one before left unbroken.

    linf and l2: 100 steps of APGD on the cross-entropy from one start, on the targeted DLR loss towards 9
    classes, FAB-T of 100 steps towards 9 classes, and 5,000 queries of Square. l1: five starts of l1-APGD
    and 5 target classes. It has no options: with other budgets it is another attack.

    References
    ----------
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020; for l1 "Mind the box", ICML 2021.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.AutoAttack()).by
    ['apgd-ce']
    """

    name: ClassVar[str] = "autoattack"
    tolerance: ClassVar[float | None] = 0.01

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        restarts, targets = (5, 5) if ball.norm == "l1" else (1, 9)
        return (APGD(restarts=restarts), TargetedAPGD(targets=targets), TargetedFAB(), Square())


@dataclass(frozen=True, kw_only=True)
class RandomisedAutoAttack(StagedAttack):
    """AutoAttack, version rand, for models that draw random numbers: APGD on cross-entropy and on DLR.

    100 steps from one start each. Every gradient, and every loss that is compared, is the mean over `samples`
    evaluations (the released code compares the loss of the last one). In l1 both go through l1-APGD's three
    balls, as in version standard, where the released code stays in the smallest.

    References
    ----------
    As for `AutoAttack`.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> noisy = torch.nn.Sequential(torch.nn.Dropout1d(0.0), torch.nn.Identity())
    >>> classifier = eb.Classifier(noisy, stochastic=True)
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.RandomisedAutoAttack()).by
    ['apgd-ce']
    """

    name: ClassVar[str] = "autoattack-rand"
    tolerance: ClassVar[float | None] = 0.01
    samples: ClassVar[int] = 20

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        return (APGD(), APGD(loss="dlr"))

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the stages on the active examples, with averaged gradients."""
        super().__call__(query.averaged(self.samples, GradientNoise()), ball, keys=keys)
