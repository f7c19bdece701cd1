"""An attack on workers: each does chunks of the same search, with the same bounds, whatever their number."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.attacks.result import AttackResult
from epsball.attacks.search import Examples, Keep, Options, chunk_starts, search
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.generator_state import preserved
from epsball.workers import Sent, Workers, gathering
from epsball.workers.outcome import Attempt


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedSearch:
    """What a worker needs for its chunks.

    Parameters
    ----------
    subject
        Gives classifier, data and ball.
    options
        Those of the search.
    """

    subject: Sent
    options: Options

    def __call__(self, number: int) -> Callable[[Attempt], AttackResult]:
        """Return what searches the chunk that starts at a row."""
        classifier, data, ball = self.subject(number)
        x, y = data[:]
        x, classes = classifier.pixels(x), classifier.check(classifier.pixels(x), y)
        index = torch.arange(len(x), device=x.device)
        examples = Examples(x=x, y=y, index=index, total=len(x), classes=classes)

        def do(attempt: Attempt) -> AttackResult:
            found: list[AttackResult] = []

            def keep(rows: slice, chunk: Callable[[], AttackResult]) -> AttackResult | None:
                if rows.start != attempt.task:
                    return None
                found.append(chunk())
                return found[0]

            stochastic = classifier.stochastic
            with preserved(self.options.seed if stochastic else None), classifier.in_use():
                search(classifier, examples, ball, self.options, keep)
            return _on(found[0], torch.device("cpu"))

        return do


@contextmanager
def shared_chunks(
    classifier: Classifier, x: Tensor, y: Tensor, ball: Ball, options: Options, workers: Workers
) -> Iterator[Keep]:
    """Return what gives the chunks of a search, as workers find them."""
    starts = chunk_starts(classifier, len(x), options)
    step = starts.step

    def last(start: int) -> int:
        return min(start + step, len(x))

    work = SharedSearch(subject=workers.sent(classifier, (x.cpu(), y.cpu()), ball), options=options)
    with gathering(
        work,
        list(starts),
        workers,
        what=options.method.name,
        size=lambda start: last(start) - start,
        named=lambda start: f"examples {start} to {last(start) - 1}",
    ) as gathered:
        yield lambda rows, chunk: _on(gathered.take(rows.start), x.device)


def _on(result: AttackResult, device: torch.device) -> AttackResult:
    """Return a result with its tensors on a device."""
    tensors = {name: value.to(device) for name, value in vars(result).items() if isinstance(value, Tensor)}
    return dataclasses.replace(result, **tensors)
