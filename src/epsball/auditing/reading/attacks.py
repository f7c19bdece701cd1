"""Accuracy by attack as a diagnosis found it, with exact intervals."""

from dataclasses import dataclass

from epsball.masking.diagnosis import Diagnosis
from epsball.statistics import Interval, clopper_pearson


@dataclass(frozen=True, kw_only=True)
class AttackNumbers:
    """What one attack left.

    Parameters
    ----------
    name
        The attack; ``reported`` is the lowest of all.
    share, standing
        Share and number of the examined examples that stand.
    interval
        Exact 95% interval of the share.
    """

    name: str
    share: float
    standing: int
    interval: Interval


def attack_numbers(diagnosis: Diagnosis) -> list[AttackNumbers]:
    """Return what each attack left, in the diagnosis's order."""
    n = diagnosis.examples
    return [
        AttackNumbers(
            name=name,
            share=share,
            standing=round(share * n),
            interval=clopper_pearson(round(share * n), n),
        )
        for name, share in diagnosis.accuracy.items()
    ]
