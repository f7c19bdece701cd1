"""`Epoch`: the record of one epoch of training, and which epoch is the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from epsball.risk import Quantities
from epsball.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch.

    Parameters
    ----------
    epoch
        Its number, from 1.
    loss
        Mean training loss.
    parts
        Means of the objective's parts.
    lr
        Learning rate of the next step.
    natural, under_attack
        Accuracies on the examples held out: at the examples, and under PGD-10 (None without a
        ball). Natural risk is 1 - natural; natural - under_attack bounds the boundary risk below.
    seen_natural, seen_under_attack
        The same on as many of the examples trained on.
    certified
        Certified accuracy on those held-out examples for which certificates were tried; None if
        none were. It bounds the robust risk above; without it the upper ends of `quantities` say
        nothing.
    certificates
        How many were tried and found, or why none were.
    quantities
        The three quantities of 17.6.1, together at 95% in this epoch, or None without a ball.
    seconds
        Wall time of its training, evaluation not counted.

    Examples
    --------
    >>> import epsball as eb
    >>> accuracies = {"natural": 0.9, "under_attack": 0.6, "seen_natural": 0.95, "seen_under_attack": 0.7}
    >>> epoch = eb.training.Epoch(epoch=1, loss=0.5, parts={}, lr=0.1, quantities=None, seconds=2.0, **accuracies)
    >>> epoch.criterion
    0.6
    """

    epoch: int
    loss: float
    parts: dict[str, float]
    lr: float
    natural: float
    under_attack: float | None
    seen_natural: float
    seen_under_attack: float | None
    certified: float | None = None
    certificates: str = ""
    quantities: Quantities | None
    seconds: float

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Epoch":
        """Return the epoch that `epsball.results.jsonable` wrote."""
        found = document["quantities"]
        intervals = None if found is None else {name: Interval(**ends) for name, ends in found.items()}
        return cls(**{**document, "quantities": None if intervals is None else Quantities(**intervals)})

    @property
    def criterion(self) -> float:
        """What the best epoch is chosen by: the held-out accuracy under attack, or natural accuracy without a ball."""
        return self.natural if self.under_attack is None else self.under_attack


def best_of(history: Sequence[Epoch]) -> Epoch:
    """Return the epoch of the highest criterion, the earliest of equals."""
    return max(history, key=lambda epoch: (epoch.criterion, -epoch.epoch))
