"""What an audit is about, and the pieces it is made in."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.auditing.parts import Parts
from epsball.ball import Ball
from epsball.certificates import Semantics, Verifier, arithmetic_of
from epsball.classifier import Classifier
from epsball.classifier.guards import PROBED, check_inputs, check_label_range
from epsball.data import Dataset, as_pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What the whole audit is about.

    Parameters
    ----------
    classifier, dataset, ball
        The model, the data, and the perturbation set.
    seed
        Seed of every draw.
    classes
        Number of classes.
    """

    classifier: Classifier
    dataset: Dataset
    ball: Ball
    seed: int
    classes: int
    _verifiers: dict[Semantics, Verifier] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, classifier: Classifier, dataset: Dataset, ball: Ball, seed: int) -> "Subject":
        """Check the model on the first examples, and all labels."""
        x, y = dataset[:PROBED]
        classes = classifier.check(as_pixels(x), y)
        check_label_range(dataset.labels, classes)
        return cls(classifier=classifier, dataset=dataset, ball=ball, seed=seed, classes=classes)

    def about(self, ball: Ball) -> "Subject":
        """Return the same model and data within another ball; the network that was captured is shared."""
        other = replace(self, ball=ball)
        object.__setattr__(other, "_verifiers", self._verifiers)
        return other

    def verifier(self, semantics: Semantics) -> Verifier:
        """Return the captured network and the claim made of it; the network is captured once per run."""
        if semantics not in self._verifiers:
            arithmetic = arithmetic_of(semantics)
            self._verifiers[semantics] = Verifier.of(self.classifier, tuple(self.dataset.shape), arithmetic)
        return self._verifiers[semantics]

    def shard(self, rows: slice, folder: Path | None = None, parts: Parts | None = None) -> "Shard":
        """Return a run of the examples, its inputs checked."""
        x, y = self.dataset[rows]
        x = as_pixels(x)
        check_inputs(x, self.classifier.low, self.classifier.high, first=rows.start)
        positions, numbers = self.dataset.positions[rows], torch.arange(rows.start, rows.stop)
        return Shard(
            subject=self, x=x, y=y, positions=positions, rows=numbers, parts=parts or Parts(None), folder=folder
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """A run of examples that is audited and written as one piece.

    Parameters
    ----------
    subject
        What the whole audit is about.
    x, y
        Pixels in the box, and labels.
    positions
        Positions in the source of the data.
    rows
        Positions in the audited data set: an attack's per-example fields are indexed by them.
    parts
        What its finished batches found.
    folder
        The run's folder, if it has one.
    """

    subject: Subject
    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    positions: Int64[Tensor, " n"]
    rows: Int64[Tensor, " n"]
    parts: Parts
    folder: Path | None = None
