"""What an audit is asked to measure, and the plan of it within one ball."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from epsball.attacks import Ledger
from epsball.auditing.effort import Effort
from epsball.auditing.fingerprint import describe, identity
from epsball.auditing.folder import RunFolder
from epsball.auditing.link import Link
from epsball.auditing.links import (
    AttackLink,
    BranchingLink,
    CertificateLink,
    DiagnosisLink,
    LimitLink,
    NaturalLink,
    SmoothingLink,
    TakenLink,
)
from epsball.auditing.running.plan import Plan
from epsball.auditing.sharing import Source, baseline_of
from epsball.auditing.subject import Subject
from epsball.certificates import AUTO
from epsball.errors import UnsupportedOperation
from epsball.names import NoCertificates

NO_CERTIFICATES: NoCertificates = "none"


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is measured, whatever the ball.

    Parameters
    ----------
    proving, attacking
        The links of certificates and of the attack.
    limit, diagnosis
        Whether the optimal risk is measured, and masking examined; as for `epsball.audit`.
    shard
        Examples audited and written as one piece.
    branching, effort
        Passes of branch and bound per example, None for those of the effort; and the effort.
    baseline
        The folder of the run whose witnesses are tried first; or None.
    keep
        Whether certificates are kept as files.
    smooth
        The smoothing beside the chain, as for `epsball.audit`; None for that of the folder, if there is one.
    """

    proving: CertificateLink
    attacking: AttackLink
    limit: bool
    diagnosis: bool | None
    shard: int
    effort: Effort
    branching: int | None = None
    baseline: Path | None = None
    keep: bool = True
    smooth: str | SmoothingLink | None = None

    def plan(self, subject: Subject, path: Path | RunFolder | None, guards: int, known: Sequence[Source] = ()) -> Plan:
        """Return the plan of an audit within one ball.

        Parameters
        ----------
        subject, path
            What it is about, and where it is written; a folder that is open is taken as it is.
        guards
            Forward passes that the checks made before.
        known
            Runs of the same network within other balls, from which it takes over.
        """
        before, method = subject.classifier.passes.forward, self.attacking.method
        refused = None if self.proving.method == NO_CERTIFICATES else self.proving.refusal(subject)
        uncertified = "not asked for" if self.proving.method == NO_CERTIFICATES else refused
        taken = self._taken(subject, known)
        links: list[Link] = [
            NaturalLink(known=known[0] if known else None),
            *([] if taken is None else [taken]),
            *([self.proving] if uncertified is None else []),
            self.attacking,
        ]
        notes: list[str] = []
        if uncertified is None and self.proving.method == AUTO:
            links += self._branching(subject, path.path if isinstance(path, RunFolder) else path, notes)
        where = path if path is None or isinstance(path, RunFolder) else self._folder(path, subject, links)
        undiagnosed = DiagnosisLink.left_out(self.diagnosis, method, where)
        if undiagnosed is None:
            links.append(DiagnosisLink(method=method, folder=where, batch_size=self.attacking.batch_size))
        links += [LimitLink()] if self.limit else []
        links += SmoothingLink.of(self.smooth, subject, where)
        return Plan(
            subject=subject,
            links=links,
            guards=Ledger.overhead("guards", guards + subject.classifier.passes.forward - before),
            folder=where,
            shard=self.shard,
            uncertified=uncertified,
            undiagnosed=undiagnosed,
            keep=self.keep,
            notes=notes,
        )

    def _branching(self, subject: Subject, path: Path | None, notes: list[str]) -> list[Link]:
        """Return the link of branch and bound, if there is any; raise if it was asked for and the network has none.

        Where it is left out because of the network, or because the folder's run began without it, a note says so.
        """
        passes = self.effort.branching_passes if self.branching is None else self.branching
        if not passes:
            return []
        reason = BranchingLink.refusal(subject, self.proving.semantics)
        if self.branching and reason is not None:
            raise UnsupportedOperation(f"branching is {self.branching}, but {reason}")
        if reason is None and self.branching is None and _began_without_branching(path):
            reason = "the run in this folder began without it; a new folder has it"
        if reason is None:
            return [BranchingLink(passes=passes, semantics=self.proving.semantics, method=self.attacking.method)]
        notes.append(f"branch and bound was left out: {reason}")
        return []

    def _folder(self, path: Path, subject: Subject, links: Sequence[Link]) -> RunFolder:
        """Return the folder of a run; what its links do with a shard is part of the run's identity."""
        options = {link.name: identity(link) for link in links if link.schema}
        # Only where there is something to say: a run that keeps certificates is what it was before one could choose.
        options |= {} if self.keep else {"kept certificates": "none"}
        return RunFolder(path, describe(subject, options, self.shard))

    def _taken(self, subject: Subject, known: Sequence[Source]) -> TakenLink | None:
        """Return the link of what other runs know; None where there are none."""
        baseline = None if self.baseline is None else baseline_of(self.baseline, subject.dataset, subject.ball)
        if baseline is None and not known:
            return None
        runs = [source.said for source in known]
        runs += [] if baseline is None else [f"baseline {baseline.manifest}"]
        return TakenLink(runs=tuple(runs), balls=tuple(known), baseline=baseline)


def _began_without_branching(path: Path | None) -> bool:
    """Return whether a folder holds a run that was begun without branch and bound, which goes on as it began."""
    if path is None or not (path / "run.json").exists():
        return False
    with suppress(OSError, ValueError, KeyError, TypeError):
        return BranchingLink.name not in json.loads((path / "run.json").read_text())["identity"]["links"]
    return False
