"""Votes: the classes that a base classifier gives an example under noise, counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.classifier import Classifier
from epsball.classifier.guards import usable
from epsball.randomness import Keys
from epsball.smoothing.noise import Noise

PAGE = 64
"""Samples drawn by one generator: sample i of an example is a function of its key and i alone."""

_WORD = 2**64

Votes = Int64[np.ndarray, "n columns"]


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """The votes of a base classifier on noisy copies of some examples.

    Parameters
    ----------
    classifier
        The base classifier, for use inside its `in_use`.
    noise
        What is added; the sums are not clipped to the box.
    x
        The examples, on the classifier's device and in its dtype.
    keys
        One key per example.
    columns
        The number of logits.
    batch_size
        Samples that pass through the model together.

    Examples
    --------
    >>> from epsball.smoothing.noise import Gaussian
    >>> classifier, x = Classifier(torch.nn.Flatten()), torch.tensor([[0.9, 0.1]])
    >>> keys = Keys.of_examples(x, torch.tensor([0]), 0)
    >>> ballot = Ballot(classifier=classifier, noise=Gaussian(0.5), x=x, keys=keys, columns=2, batch_size=256)
    >>> ballot.votes([(0, 0, 100)]).sum()
    np.int64(100)
    """

    classifier: Classifier
    noise: Noise
    x: Float[Tensor, "n *shape"]
    keys: Keys
    columns: int
    batch_size: int

    def votes(self, wanted: Sequence[tuple[int, int, int]]) -> Votes:
        """Return how often each logit is the largest, per entry (row, start, stop): samples start to stop-1 of a row.

        A sample with logits that are not usable (NaN, infinity) votes for nothing.
        """
        found = np.zeros((len(wanted), self.columns), dtype=np.int64)
        owners: list[Tensor] = []
        points: list[Tensor] = []
        for entry, (row, start, stop) in enumerate(wanted):
            for drawn in self._pages(row, start, stop):
                owners.append(torch.full((len(drawn),), entry))
                points.append(drawn)
                if sum(map(len, points)) >= self.batch_size:
                    self._count(found, torch.cat(owners), torch.cat(points))
                    owners, points = [], []
        if points:
            self._count(found, torch.cat(owners), torch.cat(points))
        return found

    def _pages(self, row: int, start: int, stop: int) -> Iterator[Tensor]:
        """Yield the noisy copies start to stop-1 of an example, page by page."""
        word, shape = int(self.keys.words[row]) % _WORD, tuple(self.x.shape[1:])
        for page in range(start // PAGE, -(-stop // PAGE)):
            generator = np.random.Generator(np.random.Philox(key=word, counter=[0, 0, page, 0]))
            first = page * PAGE
            drawn = torch.from_numpy(self.noise.draw(generator, (PAGE, *shape)))
            wanted = drawn[max(start - first, 0) : min(stop - first, PAGE)]
            yield self.x[row] + wanted.to(self.x)

    def _count(self, found: Votes, owners: Tensor, points: Tensor) -> None:
        logits = self.classifier.forward(points)
        kept = usable(logits)
        cells = (owners.to(kept.device)[kept] * self.columns + logits[kept].argmax(dim=1)).cpu()
        found += torch.bincount(cells, minlength=found.size).view(found.shape).numpy()
