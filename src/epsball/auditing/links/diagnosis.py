"""The link that says whether accuracy under attack can be trusted: the diagnosis of gradient masking."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.attacks import Adaptive, Attack, AutoAttack, Ensemble, Ledger, RandomisedAutoAttack
from epsball.auditing.alarm import check_certificates
from epsball.auditing.chain import ATTACK
from epsball.auditing.evidence import Witnesses, flags
from epsball.auditing.folder import RunFolder
from epsball.auditing.link import Columns, Link, RunFindings
from epsball.auditing.parts import Parts
from epsball.auditing.subject import Shard, Subject
from epsball.classifier import Passes
from epsball.classifier.guards import BATCH
from epsball.data import as_pixels
from epsball.generator_state import preserved
from epsball.masking.diagnose import diagnosis_of, follow_up
from epsball.masking.diagnosis import Diagnosis
from epsball.masking.trial import Evaluation, KeepAs, Trial
from epsball.randomness import Keys
from epsball.statistics import Bound, clopper_pearson

if TYPE_CHECKING:
    import pyarrow

COMPOSED = (Ensemble, Adaptive, AutoAttack, RandomisedAutoAttack)
"""Attacks whose evidence is examined as it is; where another one is examined, the ensemble tries what it left."""

Rows = Int64[Tensor, " m"]


@dataclass(frozen=True, kw_only=True)
class DiagnosisLink(Link):
    """What the diagnosis makes of the attack's evidence: the verdict, and further examples it broke, by what.

    At most `most` examples are examined, drawn by position; the attack's passes are not made again. Where the
    verdict is masked, the attacks that it calls for are tried on the others too. What is broken on the way lowers
    accuracy under attack. Certified examples are not tried.

    Parameters
    ----------
    method
        The attack behind the evidence.
    folder
        Where a finished diagnosis is, and the searches of one under way; or None.
    batch_size
        Examples searched together.
    most
        Most examples that are examined, and most that are followed up together.
    """

    name: ClassVar[str] = "diagnosis"
    run_schema: ClassVar[Mapping[str, str]] = {
        "diagnosis.examined": "bool",
        "diagnosis.broken": "bool",
        "diagnosis.by": "string",
        "diagnosis.margin": "double",
    }

    method: Attack
    folder: RunFolder | None = None
    batch_size: int | None = None
    most: int = 1000

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return the columns, the diagnosis for the chain, what it broke, and accuracy under all attacks."""
        finished = None if self.folder is None else self.folder.document(f"{self.name}.json")
        if self.folder is not None and finished is not None:
            columns = self.folder.columns(f"{self.name}.arrow", tuple(self.run_schema))
            return _findings(evidence, Diagnosis.from_json(finished), columns, Passes(**finished["spent"]))
        course = _Course(self, subject, evidence)
        with preserved(subject.seed if subject.classifier.stochastic else None), subject.classifier.in_use():
            found = course.run()
        witnesses = course.witnesses()
        _raise_alarm(subject, evidence, course)
        spent = {"forward": course.spent.forward, "backward": course.spent.backward}
        return _findings(
            evidence,
            found,
            course.columns(),
            course.spent,
            witnesses=witnesses,
            document={**found.to_json(), "spent": spent},
        )


class _Course:
    """One diagnosis: the examined examples, then the others where the verdict is masked.

    Attributes
    ----------
    broken
        What it broke, by row in the data: the attack, the margin there, and the witness.
    spent
        Its passes.
    """

    def __init__(self, link: DiagnosisLink, subject: Subject, evidence: "pyarrow.Table") -> None:
        self.link, self.subject, self.evidence = link, subject, evidence
        self.flags = flags(evidence)
        self.rows = _drawn(subject, link.most)
        self.broken: dict[int, tuple[str | None, float, Tensor]] = {}
        self.spent = Passes()

    def run(self) -> Diagnosis:
        """Examine, and follow up where that is called for; for use while the classifier is in use."""
        trial = self._trial(self.rows, "examined")
        found = diagnosis_of(trial)
        self._collect(trial, self.rows)
        if found.verdict == "masked":
            for number, rows in enumerate(self._others()):
                further = self._trial(rows, f"others-{number:05d}")
                follow_up(further)
                self._collect(further, rows)
        return found

    def columns(self) -> Columns:
        """Return the columns of the evidence."""
        n = len(self.evidence)
        examined = torch.zeros(n, dtype=torch.bool).index_fill(0, self.rows, True)
        found = [self.broken.get(row) for row in range(n)]
        return {
            "diagnosis.examined": examined.tolist(),
            "diagnosis.broken": [entry is not None for entry in found],
            "diagnosis.by": [None if entry is None else entry[0] for entry in found],
            "diagnosis.margin": [None if entry is None else entry[1] for entry in found],
        }

    def witnesses(self) -> Witnesses | None:
        """Return the witnesses of what it broke, in the order of the data; None where there are none."""
        if not self.broken:
            return None
        rows = torch.tensor(sorted(self.broken))
        x, _ = _examples(self.subject, rows)
        x_adv = torch.stack([self.broken[row][2] for row in rows.tolist()])
        return Witnesses(index=self.subject.dataset.positions[rows], x=x.to(x_adv.dtype), x_adv=x_adv)

    def _others(self) -> Iterator[Rows]:
        """Yield the rows that were not examined, so many at a time."""
        left = torch.ones(len(self.evidence), dtype=torch.bool)
        left[self.rows] = False
        yield from (rows for rows in torch.nonzero(left)[:, 0].split(self.link.most) if len(rows))

    def _collect(self, trial: Trial, rows: Rows) -> None:
        """Take over what a trial broke beyond the attack, and its passes."""
        known = self.flags["attack.broken"][rows]
        for at, x_adv in trial.x_adv.items():
            if not known[at]:
                self.broken[int(rows[at])] = trial.by[at], trial.margin[at], x_adv
        self.spent.forward += trial.passes.forward
        self.spent.backward += trial.passes.backward

    def _trial(self, rows: Rows, name: str) -> Trial:
        """Return the evidence on some rows as an evaluation under examination."""
        subject, link = self.subject, self.link
        x, y = _examples(subject, rows)
        evaluation = self._evidence(rows)
        trial = self._made(x, y, rows, evaluation, self._keep(f"{name}-"))
        if isinstance(link.method, COMPOSED):
            return trial
        return self._after_the_ensemble(trial, rows, name)

    def _made(self, x: Tensor, y: Tensor, rows: Rows, evaluation: Evaluation, keep: KeepAs | None) -> Trial:
        classifier = self.subject.classifier
        certified = self.flags.get("certificate.certified")
        return Trial(
            classifier=classifier,
            x=x,
            y=y,
            ball=self.subject.ball,
            seed=self.subject.seed,
            classes=self.subject.classes,
            evaluation=evaluation,
            examined=self.link.method,
            random=classifier.stochastic,
            batch="not looked at: the check was overruled" if BATCH in classifier.overruled else None,
            proven=None if certified is None else certified[rows],
            batch_size=self.link.batch_size,
            keep=keep,
        )

    def _evidence(self, rows: Rows) -> Evaluation:
        """Return what the attack found on some rows."""
        found = self.evidence.take(rows.numpy())
        natural = torch.from_numpy(found["natural.margin"].to_numpy().astype(np.float64))
        passes = sum(int(np.sum(found[name].to_numpy())) for name in ("attack.forwards", "attack.backwards"))
        return Evaluation(
            natural=torch.where(self.flags["natural.failed"][rows], torch.nan, natural),
            broken=self.flags["attack.broken"][rows],
            by=found["attack.by"].to_pylist(),
            # The natural pass and the verification of what was found.
            passes=passes + 2 * len(rows),
            name=self.link.method.name,
        )

    def _after_the_ensemble(self, trial: Trial, rows: Rows, name: str) -> Trial:
        """Return a trial of the ensemble, run on what the named attack left."""
        method, before = Ensemble(), trial.evaluation
        standing = trial.standing().sort().values
        if len(standing):
            trial.search(method, standing)
        evaluation = Evaluation(
            natural=before.natural,
            broken=trial.broken.clone(),
            by=list(trial.by),
            passes=before.passes + trial.spent,
            name=method.name,
            earlier={before.name: before.broken},
        )
        self.spent.forward += trial.passes.forward
        self.spent.backward += trial.passes.backward
        following = self._made(trial.x, trial.y, rows, evaluation, self._keep(f"{name}-then-"))
        following.x_adv |= trial.x_adv
        following.margin |= trial.margin
        following.notes |= trial.notes
        return following

    def _keep(self, prefix: str) -> KeepAs | None:
        # A stochastic model draws on from batch to batch, so a diagnosis of one that was interrupted begins again.
        if self.link.folder is None or self.subject.classifier.stochastic:
            return None
        parts = Parts(self.link.folder.parts(self.link.name))
        return lambda name, index: parts.attack(prefix + name, index)


def _findings(
    evidence: "pyarrow.Table",
    found: Diagnosis,
    columns: Columns,
    spent: Passes,
    witnesses: Witnesses | None = None,
    document: Mapping[str, object] | None = None,
) -> RunFindings:
    """Return what the chain says, and accuracy under all attacks."""
    broken = torch.as_tensor(columns["diagnosis.broken"])
    by: dict[str, int] = {}
    for name in columns["diagnosis.by"]:
        if name is not None:
            by[name] = by.get(name, 0) + 1
    chain = {"diagnosis": found, "further": by, "examined": int(np.sum(columns["diagnosis.examined"]))}
    return RunFindings(
        bounds={ATTACK: _accuracy(evidence, broken)} if bool(broken.any()) else {},
        columns=columns,
        chain=chain,
        ledger=Ledger.overhead("diagnosis", spent.forward, spent.backward),
        witnesses=witnesses,
        notes=found.notes,
        document=document,
    )


def _drawn(subject: Subject, most: int) -> Rows:
    """Return the rows that are examined, in order."""
    n = len(subject.dataset)
    if n <= most:
        return torch.arange(n)
    words = Keys.of_positions(torch.arange(n), subject.seed).derive("diagnosis").words
    return words.argsort()[:most].sort().values


def _examples(subject: Subject, rows: Rows) -> tuple[Tensor, Tensor]:
    """Return some rows of the data as pixels on the CPU, and their labels."""
    parts = [subject.dataset[int(row) : int(row) + 1] for row in rows] if len(rows) < len(subject.dataset) else None
    x, y = subject.dataset[:] if parts is None else (torch.cat(column) for column in zip(*parts, strict=True))
    return as_pixels(x).cpu(), y.cpu().long()


def _raise_alarm(subject: Subject, evidence: "pyarrow.Table", course: _Course) -> None:
    """Compare what was broken with certificates: raises as the attack's link does."""
    certified = course.flags.get("certificate.certified")
    rows = torch.tensor([row for row in sorted(course.broken) if certified is not None and certified[row]])
    if not len(rows):
        return
    x, y = _examples(subject, rows)
    positions = subject.dataset.positions[rows]
    found = evidence.take(rows.numpy())
    columns: Columns = {
        "certificate.margin": torch.from_numpy(found["certificate.margin"].to_numpy().copy()),
        "certificate.semantics": found["certificate.semantics"].to_pylist(),
        "natural.prediction": torch.tensor(found["prediction"].to_pylist()),
    }
    points = torch.stack([course.broken[row][2] for row in rows.tolist()])
    margin = torch.tensor([course.broken[row][1] for row in rows.tolist()], dtype=torch.float64)
    shard = Shard(subject=subject, x=x, y=y, positions=positions, rows=rows, parts=Parts(None))
    check_certificates(shard, columns, torch.arange(len(rows)), points, margin)


def _accuracy(evidence: "pyarrow.Table", broken: Tensor) -> Bound:
    """Return accuracy under all attacks; examples without a verdict at x count as unbroken."""
    columns = flags(evidence)
    standing = (columns["natural.correct"] & ~columns["attack.broken"] & ~broken) | columns["natural.failed"]
    count, n = int(standing.sum()), len(standing)
    return Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")
