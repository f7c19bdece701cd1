"""The examples measured after each epoch, and what the measurements mean."""

from dataclasses import dataclass

from torch import Tensor

from epsball import data as datasets
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.limits import link_columns
from epsball.risk import UNKNOWN, Quantities, three_quantities
from epsball.statistics import Interval
from epsball.training.evaluation import Accuracies, measure
from epsball.training.processes import Processes
from epsball.training.recipe import Recipe

Pair = tuple[Tensor, Tensor]

MOST = 2000
"""Examples whose optimal risk is found, at most: its time grows with their square."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Examples held out, as many of those trained on, and the ball.

    Parameters
    ----------
    held, seen
        Pairs (x, y): held out, and trained on.
    ball
        Of the accuracies under attack; None measures none.
    """

    held: Pair
    seen: Pair
    ball: Ball | None

    @classmethod
    def of(cls, dataset: datasets.Dataset, fitted: Tensor, held: Tensor, ball: Ball | None) -> "Measured":
        """Return the examples held out and evenly spaced ones of those fitted."""
        chosen = fitted[:: max(1, len(fitted) // len(held))][: len(held)]
        pairs = [(datasets.as_pixels(x), y) for x, y in (dataset.take(held), dataset.take(chosen))]
        return cls(held=pairs[0], seen=pairs[1], ball=ball)

    def optimal_risk(self) -> Interval:
        """Return what the examples held out say about the optimal risk of their source."""
        if self.ball is None or len(self.held[1].unique()) < 2:
            return UNKNOWN
        try:
            limit = link_columns(self.held[0][:MOST], self.held[1][:MOST], self.ball).limit
        except InputError:  # no limit is defined for these data
            return UNKNOWN
        low = limit.distribution.interval.low if limit.distribution.interval else limit.distribution.value
        return Interval(max(0.0, low), 1.0)

    def after_epoch(
        self, classifier: Classifier, recipe: Recipe, processes: Processes
    ) -> tuple[Accuracies, Accuracies]:
        """Return the accuracies on the examples held out and on those trained on."""
        held, seen = (measure(classifier, x, y, self.ball, recipe, processes) for x, y in (self.held, self.seen))
        return held, seen


def quantities(held: Accuracies, seen: Accuracies, optimal: Interval) -> Quantities | None:
    """Return the three quantities of 17.6.1, or None without a ball."""
    test, train = held.robust_risk, seen.robust_risk
    return None if test is None or train is None else three_quantities(train, test, optimal)
