"""Certificates on workers: each bounds batches of the same certification, whatever the number of workers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from epsball.ball import Ball
from epsball.certificates.cascade import CascadeResult
from epsball.classifier import Classifier
from epsball.files import write_atomically
from epsball.workers import Sent, Workers, gathering
from epsball.workers.outcome import Attempt

Subject = tuple[Classifier, tuple[Tensor, Tensor], Ball]
"""Classifier, examples with their labels, and ball."""

Bounded = tuple[CascadeResult, Mapping[str, bytes]]
"""What was found on a batch, and the certificate files of it by name."""

Prepare = Callable[[Classifier, Tensor, Tensor, Ball], Any]
"""Returns a certification; its ``run(keep, folder)`` does the batches that `keep` does not leave out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedBatches:
    """What a worker needs for its batches.

    Parameters
    ----------
    prepare
        Makes the certification.
    subject
        Gives classifier, data and ball.
    files
        Whether certificate files are written.
    """

    prepare: Prepare
    subject: Sent
    files: bool

    def __call__(self, number: int) -> Callable[[Attempt], Bounded]:
        """Return what bounds the batch that begins at a row."""
        classifier, data, ball = self.subject(number)
        x, y = data[:]
        certification = self.prepare(classifier, x, y, ball)

        def do(attempt: Attempt) -> Bounded:
            found: list[CascadeResult] = []

            def keep(rows: Tensor, batch: Callable[[], CascadeResult]) -> CascadeResult | None:
                if int(rows[0]) == attempt.task:
                    found.append(batch())
                return None

            with TemporaryDirectory() as away:
                certification.run(keep, Path(away) if self.files else None)
                return found[0], {file.name: file.read_bytes() for file in Path(away).iterdir() if file.is_file()}

        return do


@contextmanager
def shared_batches(
    prepare: Prepare, subject: Subject, batches: Sequence[Tensor], folder: Path | None, workers: Workers
) -> Iterator[Callable[[Tensor, Callable[[], CascadeResult]], CascadeResult]]:
    """Return what gives the batches of a certification, as workers find them; their files are written here."""
    work = SharedBatches(
        prepare=prepare,
        subject=workers.sent(*subject),
        files=folder is not None,
    )
    by_row = {int(rows[0]): rows for rows in batches}

    def keep(rows: Tensor, batch: Callable[[], CascadeResult]) -> CascadeResult:
        found, files = gathered.take(int(rows[0]))
        if folder is not None:
            for name, content in files.items():
                if not (folder / name).exists() or name.startswith("certificate-"):
                    write_atomically(folder / name, content)
        return found

    with gathering(
        work,
        list(by_row),
        workers,
        what="examples bounded",
        size=lambda row: len(by_row[row]),
        named=lambda row: f"examples {row} to {int(by_row[row][-1])}",
    ) as gathered:
        yield keep
