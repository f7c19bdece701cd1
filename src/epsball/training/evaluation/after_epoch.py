"""What is measured after each epoch: accuracies on two samples, certificates, and the three quantities."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from epsball import data as datasets
from epsball.ball import Ball
from epsball.errors import InputError
from epsball.limits import optimal_risk
from epsball.limits.hyperedges.soft_optimum import BRIEF
from epsball.randomness import Keys
from epsball.risk import UNKNOWN, Quantities, three_quantities
from epsball.statistics import Interval
from epsball.training.engine.step import Task
from epsball.training.evaluation.certifier import CertifiedExamples, Certifier, Pair
from epsball.training.evaluation.epoch import Epoch
from epsball.training.evaluation.verdicts import CONFIDENCE, METHOD, Accuracies, verdicts_on

MOST = 2000
"""Largest number of examples whose optimal risk is computed: its time grows with their square."""


@dataclass(frozen=True, kw_only=True)
class EpochEvaluation:
    """Measures a network after each epoch, on examples held out and on as many of those trained on.

    Parameters
    ----------
    held, seen
        Pairs (x, y): held out, and drawn from those trained on.
    ball
        Ball of the accuracies under attack; None measures natural accuracies only.
    certifier
        Gives the upper side of the robust risks.
    """

    held: Pair
    seen: Pair
    ball: Ball | None
    certifier: Certifier = field(default_factory=Certifier)

    @classmethod
    def of(
        cls, dataset: datasets.Dataset, fitted: Tensor, held: Tensor, ball: Ball | None, seed: int
    ) -> "EpochEvaluation":
        """Return the evaluation on the examples held out and on as many of those fitted, drawn by the seed."""
        chosen = _shuffled(held, seed), _shuffled(fitted, seed)[: len(held)]
        pairs = [(datasets.as_pixels(x), y) for x, y in map(dataset.take, chosen)]
        return cls(held=pairs[0], seen=pairs[1], ball=ball)

    @property
    def passes(self) -> int:
        """Largest number of passes of one evaluation: natural accuracies, or PGD-10 and its verification."""
        per_example = 1 if self.ball is None else 2 * METHOD.steps + 3
        return per_example * (len(self.held[1]) + len(self.seen[1]))

    @cached_property
    def optimal_risk(self) -> Interval:
        """What the examples held out say about the optimal risk of their source."""
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

    def __call__(self, task: Task, trained: float, **numbers: Any) -> Epoch:
        """Return the epoch that ends after `trained` seconds of training; each process measures a part.

        Parameters
        ----------
        task
            The classifier measured, the recipe and the processes.
        trained
            Seconds of training so far, of which certificates may take a share.
        numbers
            The fields of `Epoch` that are known already: those of the training itself.
        """
        processes = task.processes
        pairs = [(processes.share(x), processes.share(y)) for x, y in (self.held, self.seen)]
        verdicts = [verdicts_on(task.classifier, x, y, self.ball, task.recipe) for x, y in pairs]
        if self.ball is None:
            found = CertifiedExamples.none(pairs)
        else:
            found = self.certifier(task.classifier, pairs, self.ball, trained)
        held, seen = (Accuracies.of(v, c, processes) for v, c in zip(verdicts, found.certified, strict=True))
        return Epoch(
            natural=held.natural / held.total,
            under_attack=None if held.under_attack is None else held.under_attack / held.total,
            seen_natural=seen.natural / seen.total,
            seen_under_attack=None if seen.under_attack is None else seen.under_attack / seen.total,
            certified=held.certified / held.bounded if held.bounded else None,
            certificates=found.note,
            quantities=self._quantities(held, seen),
            **numbers,
        )

    def _quantities(self, held: Accuracies, seen: Accuracies) -> Quantities | None:
        """Return the three quantities of 17.6.1, or None without a ball."""
        test, train = held.robust_risk, seen.robust_risk
        return None if test is None or train is None else three_quantities(train, test, self.optimal_risk)


def _shuffled(positions: Tensor, seed: int) -> Tensor:
    """Return positions in random order: the first of them, however many, are a sample of all."""
    return positions[Keys.of_positions(positions, seed).derive("measured").words.argsort()]
