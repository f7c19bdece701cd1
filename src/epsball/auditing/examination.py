"""The examination of an audit's evidence: a diagnosis of some examples, and what it calls for on the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.attacks import Attack, Ensemble
from epsball.auditing.alarm import check_certificates
from epsball.auditing.evidence import Witnesses, flags
from epsball.auditing.link import Columns
from epsball.auditing.parts import Parts
from epsball.auditing.subject import Shard, Subject
from epsball.classifier import Passes
from epsball.classifier.guards import BATCH
from epsball.data import as_pixels
from epsball.masking.diagnose import diagnosis_of, follow_up
from epsball.masking.diagnosis import Diagnosis
from epsball.masking.trial import Evaluation, KeepAs, Trial
from epsball.randomness import Keys

if TYPE_CHECKING:
    import pyarrow

Rows = Int64[Tensor, " m"]


class Examination:
    """A diagnosis of examples drawn by position, then the attacks it calls for on the others if they are masked.

    Parameters
    ----------
    subject, evidence
        What is audited, and what the links before found.
    method
        The attack behind the evidence.
    composed
        Whether its evidence is examined as it is; else the ensemble tries what it left first.
    folder
        Where the chunks of its searches are kept, so that it goes on after an interruption; or None.
    batch_size
        Examples searched together.
    most
        Most examples that are examined, and most of the others that are taken together.

    Attributes
    ----------
    broken
        What it broke, by row in the data: the attack, the margin there, and the witness.
    spent
        Its passes.
    """

    def __init__(
        self,
        subject: Subject,
        evidence: "pyarrow.Table",
        method: Attack,
        *,
        composed: bool,
        folder: Path | None,
        batch_size: int | None,
        most: int,
    ) -> None:
        self._subject, self._evidence, self._method, self._composed = subject, evidence, method, composed
        self._parts = None if folder is None else Parts(folder)
        self._batch_size, self._most = batch_size, most
        self._flags = flags(evidence)
        self._rows = self._drawn()
        self.broken: dict[int, tuple[str | None, float, Tensor]] = {}
        self.spent = Passes()

    def run(self) -> Diagnosis:
        """Examine, and follow up where that is called for; for use while the classifier is in use."""
        trial = self._trial(self._rows, "examined")
        found = diagnosis_of(trial)
        self._collect(trial, self._rows)
        if found.verdict == "masked":
            for number, rows in enumerate(self._others()):
                further = self._trial(rows, f"others-{number:05d}")
                follow_up(further)
                self._collect(further, rows)
        return found

    def columns(self) -> Columns:
        """Return the columns of the evidence."""
        n = len(self._evidence)
        found = [self.broken.get(row) for row in range(n)]
        return {
            "diagnosis.examined": torch.zeros(n, dtype=torch.bool).index_fill(0, self._rows, True).tolist(),
            "diagnosis.broken": [entry is not None for entry in found],
            "diagnosis.by": [None if entry is None else entry[0] for entry in found],
            "diagnosis.margin": [None if entry is None else entry[1] for entry in found],
        }

    def witnesses(self) -> Witnesses | None:
        """Return the witnesses of what it broke, in the order of the data; None where there are none."""
        if not self.broken:
            return None
        rows = torch.tensor(sorted(self.broken))
        x, _ = self._examples(rows)
        x_adv = self._points(rows)
        return Witnesses(index=self._subject.dataset.positions[rows], x=x.to(x_adv.dtype), x_adv=x_adv)

    def raise_alarm(self) -> None:
        """Compare what was broken with certificates.

        Raises
        ------
        SoundnessError, AssumptionError
            As `epsball.auditing.alarm.check_certificates`.
        """
        certified = self._flags.get("certificate.certified")
        rows = torch.tensor([row for row in sorted(self.broken) if certified is not None and certified[row]])
        if not len(rows):
            return
        x, y = self._examples(rows)
        found = self._evidence.take(rows.numpy())
        columns: Columns = {
            "certificate.margin": torch.from_numpy(found["certificate.margin"].to_numpy().copy()),
            "certificate.semantics": found["certificate.semantics"].to_pylist(),
            "natural.prediction": torch.tensor(found["prediction"].to_pylist()),
        }
        positions = self._subject.dataset.positions[rows]
        shard = Shard(subject=self._subject, x=x, y=y, positions=positions, rows=rows, parts=Parts(None))
        margin = torch.tensor([self.broken[row][1] for row in rows.tolist()], dtype=torch.float64)
        check_certificates(shard, columns, torch.arange(len(rows)), self._points(rows), margin)

    def _points(self, rows: Rows) -> Tensor:
        return torch.stack([self.broken[row][2] for row in rows.tolist()])

    def _drawn(self) -> Rows:
        """Return the rows that are examined, in order."""
        n = len(self._evidence)
        if n <= self._most:
            return torch.arange(n)
        words = Keys.of_positions(torch.arange(n), self._subject.seed).derive("diagnosis").words
        return words.argsort()[: self._most].sort().values

    def _others(self) -> Iterator[Rows]:
        """Yield the rows that were not examined, so many at a time."""
        left = torch.ones(len(self._evidence), dtype=torch.bool)
        left[self._rows] = False
        yield from (rows for rows in torch.nonzero(left)[:, 0].split(self._most) if len(rows))

    def _examples(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return some rows of the data as pixels on the CPU, and their labels."""
        dataset = self._subject.dataset
        if len(rows) == len(dataset):
            x, y = dataset[:]
        else:
            parts = [dataset[row : row + 1] for row in rows.tolist()]
            x, y = (torch.cat(column) for column in zip(*parts, strict=True))
        return as_pixels(x).cpu(), y.cpu().long()

    def _collect(self, trial: Trial, rows: Rows) -> None:
        """Take over what a trial broke beyond the attack, and its passes."""
        known = self._flags["attack.broken"][rows]
        for at, x_adv in trial.x_adv.items():
            if not known[at]:
                self.broken[int(rows[at])] = trial.by[at], trial.margin[at], x_adv
        self._count(trial)

    def _count(self, trial: Trial) -> None:
        self.spent.forward += trial.passes.forward
        self.spent.backward += trial.passes.backward

    def _trial(self, rows: Rows, name: str) -> Trial:
        """Return what is known of some rows as an evaluation under examination."""
        x, y = self._examples(rows)
        trial = self._made(x, y, rows, self._found(rows), f"{name}-")
        return trial if self._composed else self._after_the_ensemble(trial, rows, f"{name}-then-")

    def _made(self, x: Tensor, y: Tensor, rows: Rows, evaluation: Evaluation, prefix: str) -> Trial:
        subject, certified = self._subject, self._flags.get("certificate.certified")
        overruled = BATCH in subject.classifier.overruled
        return Trial(
            classifier=subject.classifier,
            x=x,
            y=y,
            ball=subject.ball,
            seed=subject.seed,
            classes=subject.classes,
            evaluation=evaluation,
            examined=self._method,
            random=subject.classifier.stochastic,
            batch="not looked at: the check was overruled" if overruled else None,
            proven=None if certified is None else certified[rows],
            batch_size=self._batch_size,
            keep=self._keep(prefix),
        )

    def _found(self, rows: Rows) -> Evaluation:
        """Return what the attack found on some rows."""
        found = self._evidence.take(rows.numpy())
        natural = torch.from_numpy(found["natural.margin"].to_numpy().astype(np.float64))
        passes = sum(int(np.sum(found[name].to_numpy())) for name in ("attack.forwards", "attack.backwards"))
        return Evaluation(
            natural=torch.where(self._flags["natural.failed"][rows], torch.nan, natural),
            broken=self._flags["attack.broken"][rows],
            by=found["attack.by"].to_pylist(),
            # The natural pass and the verification of what was found.
            passes=passes + 2 * len(rows),
            name=self._method.name,
        )

    def _after_the_ensemble(self, trial: Trial, rows: Rows, prefix: str) -> Trial:
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
        self._count(trial)
        following = self._made(trial.x, trial.y, rows, evaluation, prefix)
        following.x_adv |= trial.x_adv
        following.margin |= trial.margin
        following.notes |= trial.notes
        return following

    def _keep(self, prefix: str) -> KeepAs | None:
        parts = self._parts
        return None if parts is None else lambda name, index: parts.attack(prefix + name, index)
