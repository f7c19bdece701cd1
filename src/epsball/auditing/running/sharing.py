"""The shards of an audit on workers: what a worker gets, what it makes of it, and what comes back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from epsball.attacks import Ledger
from epsball.auditing.evidence import ShardEvidence, Witnesses
from epsball.auditing.fingerprint import probe
from epsball.auditing.folder import RunFolder
from epsball.auditing.points import NearestPoints
from epsball.auditing.running.plan import Plan
from epsball.auditing.running.shards import audited
from epsball.auditing.running.timing import Engine
from epsball.auditing.sharing import Source
from epsball.ball import Ball
from epsball.classifier.probe import same_probe
from epsball.errors import ModelError
from epsball.files import write_atomically
from epsball.workers import Sent, Workers
from epsball.workers import run as run_tasks
from epsball.workers.outcome import Attempt

if TYPE_CHECKING:
    import pyarrow

CERTIFICATES = "certificates"


@dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """An audit that workers share.

    Parameters
    ----------
    planned
        Makes the plan of an audit: ``planned(classifier, data, ball, folder=..., known=..., **options)``.
    subject
        Classifier, data and ball, where the workers have no source of their own.
    options
        The other arguments of `planned`.
    known
        Runs of the same network within other balls, from which it takes over.
    workers
        The workers.
    """

    planned: Callable[..., Plan]
    subject: tuple[Any, Any, Any]
    options: Mapping[str, Any]
    workers: Workers
    known: Sequence[Source] = ()

    def within(self, ball: Ball, known: Sequence[Source]) -> "Shared":
        """Return the same audit within another ball, which takes over from others."""
        return replace(self, subject=(*self.subject[:2], ball), known=known)

    def outcomes(self, plan: Plan, numbers: list[int], before: int) -> Any:
        """Yield the outcome of each shard as it gets done; its result is its evidence."""
        folder = plan.folder
        work = _Work(
            planned=self.planned,
            subject=self.workers.sent(*self.subject),
            ball=plan.subject.ball,
            # Workers of a cluster see no folder of this machine.
            known=[source.sent(read=self.workers.ray is not None) for source in self.known],
            options=self.options,
            guards=plan.guards,
            description=None if folder is None else folder.description,
            folder=None if folder is None or self.workers.ray is not None else folder.path,
        )
        outcomes = run_tasks(
            work,
            numbers,
            self.workers,
            what="examples audited",
            named=lambda number: f"shard {number} (examples {plan.rows(number).start} to {plan.rows(number).stop - 1})",
            size=lambda number: plan.rows(number).stop - plan.rows(number).start,
            before=before,
        )
        for outcome in outcomes:
            found = None if outcome.lost else _taken(folder, outcome.task, outcome.result)
            yield outcome.task, found, outcome.lost


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sent:
    """A shard as it comes back: its files, or what would be in them."""

    table: "pyarrow.Table"
    ledger: "pyarrow.Table"
    witnesses: Witnesses
    points: NearestPoints | None
    files: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """What a worker prepares: a plan of its own, and with it one shard after another."""

    planned: Callable[..., Plan]
    subject: Sent
    ball: Ball
    known: Sequence[Source]
    options: Mapping[str, Any]
    guards: Ledger
    description: Mapping[str, Any] | None
    folder: Path | None

    def __call__(self, number: int) -> Callable[[Attempt], _Sent | None]:
        classifier, data, _ = self.subject(number)
        away = TemporaryDirectory() if self.folder is None and self.description is not None else None
        path = self.folder if away is None else Path(away.name) / "run"
        folder = None if path is None else RunFolder(path, dict(self.description or {}))
        plan = self.planned(classifier, data, self.ball, folder=folder, known=self.known, **self.options)
        # The checks that count are those of the call, not those that each worker makes of what it was sent.
        plan = replace(plan, guards=self.guards)
        self._require_same(plan)

        def do(attempt: Attempt) -> _Sent | None:
            shards: list[ShardEvidence] = []
            engine = Engine(name="processes" if away is None else "ray", tries=attempt.tries)
            audited(plan, attempt.task, shards, engine)
            if self.folder is not None:
                return None  # It is in the folder.
            return _sent(shards[0], None if away is None else path)

        return do

    def _require_same(self, plan: Plan) -> None:
        """Refuse to audit a model that is not the one of the run: its file may have changed in between."""
        if self.description is None:
            return
        identity = self.description["identity"]
        same = plan.subject.classifier.fingerprint() == identity["network"]
        if not same or not same_probe(self.description["probe"], probe(plan.subject)):
            raise ModelError(
                "the model that a worker loaded is not the one that the audit began with: its file was changed in "
                "between. Put it back, or begin a run in another folder."
            )


def _sent(shard: ShardEvidence, away: Path | None) -> _Sent:
    """Return a shard with the files that its links and its clock wrote."""
    files: dict[str, bytes] = {}
    if away is not None:
        written = [*(away / CERTIFICATES).glob("*"), *away.glob("timing-*")]
        files = {file.relative_to(away).as_posix(): file.read_bytes() for file in written if file.is_file()}
        for file in away.glob(f"{CERTIFICATES}/certificate-*"):
            file.unlink()  # Model files stay: a worker writes its own once.
        for file in away.glob("timing-*"):
            file.unlink()
    return _Sent(
        table=shard.table, ledger=shard.ledger, witnesses=shard.witnesses(), points=shard.points(), files=files
    )


def _taken(folder: RunFolder | None, number: int, sent: _Sent | None) -> ShardEvidence:
    """Return a shard's evidence: from the folder where the worker wrote it; else what it sent, then stored."""
    if sent is None:
        found = None if folder is None else folder.load(number)
        if found is None:
            raise FileNotFoundError(f"shard {number} is not in the folder though a worker finished it")
        return found
    evidence = ShardEvidence(
        table=sent.table, ledger=sent.ledger, witnesses=lambda: sent.witnesses, points=lambda: sent.points
    )
    if folder is None:
        return evidence
    for name, content in sent.files.items():
        write_atomically(folder.path / name, content)
    return folder.store(number, evidence)
