"""The examples measured after each epoch, and what the measurements mean."""

from dataclasses import dataclass, field

from torch import Tensor

from epsball import data as datasets
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.limits import optimal_risk
from epsball.limits.hyperedges.soft_optimum import BRIEF
from epsball.randomness import Keys
from epsball.risk import UNKNOWN, Quantities, three_quantities
from epsball.statistics import Interval
from epsball.training.engine.recipe import Recipe
from epsball.training.evaluation.certifier import Certifier
from epsball.training.evaluation.verdicts import CONFIDENCE, METHOD, Accuracies, judge
from epsball.training.processes import Processes

Pair = tuple[Tensor, Tensor]

MOST = 2000
"""Examples whose optimal risk is found, at most: its time grows with their square."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The accuracies on the examples held out and on those trained on, and how certificates went."""

    held: Accuracies
    seen: Accuracies
    certificates: str = ""

    def quantities(self, optimal: Interval) -> Quantities | None:
        """Return the three quantities of 17.6.1, or None without a ball."""
        test, train = self.held.robust_risk, self.seen.robust_risk
        return None if test is None or train is None else three_quantities(train, test, optimal)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Examples held out, as many of those trained on, and the ball.

    Parameters
    ----------
    held, seen
        Pairs (x, y): held out, and drawn from those trained on.
    ball
        Of the accuracies under attack; None measures none.
    certifier
        Of the upper side of the robust risks.
    """

    held: Pair
    seen: Pair
    ball: Ball | None
    certifier: Certifier = field(default_factory=Certifier)

    @classmethod
    def of(
        cls, dataset: datasets.Dataset, fitted: Tensor, held: Tensor, ball: Ball | None, recipe: Recipe
    ) -> "Measured":
        """Return the examples held out and as many of those fitted, drawn by the recipe's seed."""
        chosen = _shuffled(held, recipe.seed), _shuffled(fitted, recipe.seed)[: len(held)]
        pairs = [(datasets.as_pixels(x), y) for x, y in map(dataset.take, chosen)]
        return cls(held=pairs[0], seen=pairs[1], ball=ball)

    @property
    def passes(self) -> int:
        """Passes of an epoch's measurements at most: of natural accuracies, or of PGD-10 and its verification."""
        an_example = 1 if self.ball is None else 2 * METHOD.steps + 3
        return an_example * (len(self.held[1]) + len(self.seen[1]))

    def optimal_risk(self) -> Interval:
        """Return what the examples held out say about the optimal risk of their source."""
        x, y = self.held[0][:MOST], self.held[1][:MOST]
        if self.ball is None or len(y.unique()) < 2:
            return UNKNOWN
        try:
            risk = optimal_risk(
                x, y, norm=self.ball.norm, radii=[self.ball.radius], confidence=CONFIDENCE, effort=BRIEF
            )
        except InputError:  # no limit is defined for these data
            return UNKNOWN
        return risk.at(self.ball.radius).distribution.interval or UNKNOWN

    def after_epoch(self, classifier: Classifier, recipe: Recipe, processes: Processes, trained: float) -> Findings:
        """Return what the examples held out and those trained on show after `trained` seconds of training.

        Each process takes a part of them.
        """
        pairs = [(processes.share(x), processes.share(y)) for x, y in (self.held, self.seen)]
        verdicts = [judge(classifier, x, y, self.ball, recipe) for x, y in pairs]
        if self.ball is None:
            none = [verdict.correct[:0] for verdict in verdicts]
            held, seen = (Accuracies.of(v, c, processes) for v, c in zip(verdicts, none, strict=True))
            return Findings(held=held, seen=seen)
        proved = self.certifier(classifier, pairs, self.ball, trained)
        held, seen = (Accuracies.of(v, c, processes) for v, c in zip(verdicts, proved.certified, strict=True))
        return Findings(held=held, seen=seen, certificates=proved.note)


def _shuffled(positions: Tensor, seed: int) -> Tensor:
    """Return positions in random order, so that the first so many of them are a sample of all."""
    return positions[Keys.of_positions(positions, seed).derive("measured").words.argsort()]
