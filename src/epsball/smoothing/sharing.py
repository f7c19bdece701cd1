"""Smoothing on workers: each samples groups of examples; what they draw depends on the examples alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from epsball.classifier import Classifier
from epsball.data import Dataset
from epsball.smoothing.rows import Rows
from epsball.workers import Sent, Workers, gathering
from epsball.workers.outcome import Attempt

Subject = tuple[Classifier, Dataset, nn.Module | None]
"""Base classifier, data, and the denoiser before it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedGroups:
    """What a worker needs for its groups.

    Parameters
    ----------
    sampler
        ``sampler(classifier, dataset, denoiser)`` returns what gives the rows of the group that starts at an example.
    subject
        Gives base classifier, data and denoiser.
    """

    sampler: Callable[..., Callable[[int], Rows]]
    subject: Sent

    def __call__(self, number: int) -> Callable[[Attempt], Rows]:
        """Return what samples the group that starts at an example."""
        sample = self.sampler(*self.subject(number))
        return lambda attempt: sample(attempt.task)


@contextmanager
def shared_groups(
    sampler: Callable[..., Callable[[int], Rows]],
    subject: Subject,
    starts: Sequence[int],
    length: int,
    workers: Workers,
) -> Iterator[Callable[[int], Rows]]:
    """Return what gives the rows of the group that starts at an example, as workers find them."""
    work = SharedGroups(sampler=sampler, subject=workers.sent(*subject))
    with gathering(
        work,
        list(starts),
        workers,
        what="examples smoothed",
        size=lambda start: length,
        named=lambda start: f"examples {start} to {start + length - 1}",
    ) as gathered:
        yield gathered.take
