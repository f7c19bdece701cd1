"""Verdicts on the examples measured after each epoch, and what they say together."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball.attacks import PGD, attack
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import SoundnessError
from epsball.recipe import Recipe
from epsball.risk import Bracket
from epsball.training.processes import Processes

METHOD = PGD(steps=10)
CONFIDENCE = 1.0 - 0.05 / 3
"""Confidence of each of three statements, so that all hold together with 95%: two robust risks and the optimal risk."""


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """For each example, whether it is classified correctly, and whether PGD-10 broke it (None without a ball)."""

    correct: Bool[Tensor, " n"]
    broken: Bool[Tensor, " n"] | None


def verdicts_on(
    classifier: Classifier,
    x: Float[Tensor, "n *shape"],
    y: Int64[Tensor, " n"],
    ball: Ball | None,
    recipe: Recipe,
) -> Verdicts:
    """Return the verdicts on examples.

    The search runs in the recipe's precision; verdicts are those of `epsball.attack`, in float32.
    """
    if len(x) == 0:
        none = torch.zeros(0, dtype=torch.bool)
        return Verdicts(correct=none, broken=None if ball is None else none)
    if ball is None:
        return Verdicts(correct=(classifier.logits(x).argmax(1).cpu() == y.cpu()), broken=None)
    found = attack(classifier, x, y, ball, method=METHOD, seed=recipe.seed, precision=recipe.precision)
    return Verdicts(correct=(found.distance != 0).cpu(), broken=found.broken.cpu())


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Numbers of examples.

    Parameters
    ----------
    total, natural, under_attack
        All, those classified correctly, and those that withstand PGD-10 (None without a ball).
    bounded, certified
        Those for which certificates were tried, and those that have one.
    """

    total: int
    natural: int
    under_attack: int | None
    bounded: int = 0
    certified: int = 0

    @classmethod
    def of(cls, verdicts: Verdicts, certified: Bool[Tensor, " m"], processes: Processes) -> "Accuracies":
        """Count over all processes; `certified` is about the first m of this one's examples.

        Raises
        ------
        SoundnessError
            If an example is both broken and certified.
        """
        broken = verdicts.broken
        if broken is not None and bool((broken[: len(certified)] & certified).any()):
            raise SoundnessError(
                "an example measured while training is both broken and certified: a bug in epsball, or kernels that "
                "break the assumptions of a float32 claim. Audit the last weights written, and please report it."
            )
        withstood = torch.tensor(0) if broken is None else (~broken).sum()
        counts = [torch.tensor(len(verdicts.correct)), verdicts.correct.sum(), withstood]
        counts += [torch.tensor(len(certified)), certified.sum()]
        device = processes.device or torch.device("cpu")
        totals = [int(count) for count in processes.sum([count.to(device) for count in counts])]
        return cls(
            total=totals[0],
            natural=totals[1],
            under_attack=None if broken is None else totals[2],
            bounded=totals[3],
            certified=totals[4],
        )

    @property
    def robust_risk(self) -> Bracket | None:
        """The robust risk: at least what the attack broke, at most what has no certificate."""
        if self.under_attack is None:
            return None
        broken = self.total - self.under_attack, self.total
        unproved = (self.bounded - self.certified, self.bounded) if self.bounded else (1, 1)
        return Bracket.of_sides(broken, unproved, CONFIDENCE)
