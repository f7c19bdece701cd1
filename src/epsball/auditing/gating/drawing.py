"""The examples of a gate in their random order, audited a look at a time: here, or on workers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball import data as datasets
from epsball import progress
from epsball.attacks import Ledger
from epsball.auditing.effort import Effort
from epsball.auditing.evidence import gather
from epsball.auditing.fingerprint import probe
from epsball.auditing.link import Link
from epsball.auditing.links import AttackLink, CertificateLink, NaturalLink, TakenLink
from epsball.auditing.sharing import Source, baseline_of
from epsball.auditing.subject import Subject
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.classifier.probe import same_probe
from epsball.data import Dataset
from epsball.errors import ModelError
from epsball.workers import Sent, Workers, gathering
from epsball.workers.child import sendable
from epsball.workers.outcome import Attempt

if TYPE_CHECKING:
    import pyarrow

LOOK = 16
"""Examples between two looks."""

WITHOUT_PROOFS = "not asked about"


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Examples in the order in which they are drawn, and the links that audit them.

    Parameters
    ----------
    subject, links
        What it is about, its data in that order; and the links.
    uncertified
        Why no link makes certificates; None where one does.
    """

    subject: Subject
    links: Sequence[Link]
    uncertified: str | None

    @property
    def looks(self) -> int:
        """How many looks there are, the last one at fewer examples if need be."""
        return -(-len(self.subject.dataset) // LOOK)

    def size(self, look: int) -> int:
        """Return how many examples a look adds."""
        return min(LOOK, len(self.subject.dataset) - look * LOOK)

    def evidence(self, look: int) -> "pyarrow.Table":
        """Return the evidence of the examples that a look adds; it depends on no other look."""
        start = look * LOOK
        shard = self.subject.shard(slice(start, start + self.size(look)))
        return gather(self.links, shard, Ledger.empty()).table.replace_schema_metadata(None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """How examples are drawn and audited, for this process and for workers.

    Parameters
    ----------
    order
        The examples' numbers in the data, as they are drawn.
    seed, effort
        Seed of every draw, and what is spent per example.
    proofs
        Whether certificates are asked about.
    baseline
        The folder of the run whose witnesses are tried first; or None.
    """

    order: Sequence[int]
    seed: int
    effort: Effort
    proofs: bool
    baseline: Path | None

    def of(self, classifier: Classifier, dataset: Dataset, ball: Ball, known: Source | None) -> Drawn:
        """Return the examples of a data set, drawn; `known` is the baseline as it was read."""
        subject = Subject.of(classifier, dataset.only(self.order), ball, self.seed)
        proving = CertificateLink(budget=self.effort.certificate_passes, fewest=1)
        uncertified = proving.refusal(subject) if self.proofs else WITHOUT_PROOFS
        links: list[Link] = [
            NaturalLink(),
            *([] if known is None else [TakenLink(runs=(f"baseline {known.manifest}",), baseline=known)]),
            *([proving] if uncertified is None else []),
            AttackLink(method=self.effort.attack, fewest=1),
        ]
        return Drawn(subject=subject, links=links, uncertified=uncertified)


@contextmanager
def looking(drawn: Drawn, drawing: Drawing, given: object, workers: Workers | None) -> Iterator[Iterator[Any]]:
    """Give the evidence of one look after another inside the block, in their order whoever finds it first.

    What a look raises is raised when its turn comes, so that the answer, errors included, is the same for any number of
    workers. No worker is left behind the block.

    Parameters
    ----------
    drawn, drawing
        What is drawn, and how a worker draws it for itself.
    given
        The data as they were given, for workers without a source of their own.
    workers
        The workers, or None.
    """
    if workers is None:
        yield _one_by_one(drawn)
        return
    subject = drawn.subject
    work = _Work(
        drawing=drawing,
        subject=workers.sent(subject.classifier, given, subject.ball),
        probe=probe(subject),
    )
    first = [look * LOOK for look in range(drawn.looks)]
    with gathering(
        work,
        list(range(drawn.looks)),
        workers,
        what="examples audited",
        size=drawn.size,
        named=lambda look: f"examples {first[look]} to {first[look] + drawn.size(look) - 1} of those drawn",
    ) as found:
        yield (_raised(found.take(look)) for look in range(drawn.looks))


def _one_by_one(drawn: Drawn) -> Iterator["pyarrow.Table"]:
    for look in range(drawn.looks):
        progress.report("examples audited", look * LOOK, len(drawn.subject.dataset))
        yield drawn.evidence(look)


def _raised(found: Any) -> Any:
    """Return what a look found; raise it if it is an error."""
    if isinstance(found, Exception):
        raise found
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """What a worker prepares: the examples as it draws them for itself."""

    drawing: Drawing
    subject: Sent
    probe: Sequence[float | None]

    def __call__(self, number: int) -> Callable[[Attempt], Any]:
        classifier, data, ball = self.subject(number)
        dataset, path = datasets.load(data), self.drawing.baseline
        known = None if path is None else baseline_of(path, dataset, ball)
        drawn = self.drawing.of(classifier, dataset, ball, known)
        if not same_probe(list(self.probe), probe(drawn.subject)):
            raise ModelError(
                "the code of the model that a worker loaded is not that of the model that the gate began with: its "
                "first margins differ, though its weights are the same. Put it back and call again."
            )

        def do(attempt: Attempt) -> Any:
            try:
                return drawn.evidence(attempt.task)
            except MemoryError:
                raise
            except Exception as error:
                return sendable(error)

        return do
