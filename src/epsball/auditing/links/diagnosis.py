"""The link that says whether accuracy under attack can be trusted: the diagnosis of gradient masking."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from epsball.attacks import Adaptive, Attack, AutoAttack, Ensemble, Ledger, RandomisedAutoAttack
from epsball.auditing.chain import ATTACK
from epsball.auditing.evidence import accuracy_under_attack, flags
from epsball.auditing.examination import Examination
from epsball.auditing.folder import RunFolder
from epsball.auditing.link import Columns, Link, RunFindings
from epsball.auditing.subject import Subject
from epsball.classifier import Passes
from epsball.errors import ModelError, UnsupportedOperation, first_line
from epsball.generator_state import preserved
from epsball.interface import switch
from epsball.masking.diagnosis import Diagnosis

if TYPE_CHECKING:
    import pyarrow

COMPOSED = (Ensemble, Adaptive, AutoAttack, RandomisedAutoAttack)
"""Attacks whose evidence is examined as it is; of another one's, what it left is given to the ensemble first."""


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

    @classmethod
    def left_out(cls, asked: bool | None, method: Attack, folder: RunFolder | None) -> str | None:
        """Return why a run has no diagnosis, or None where it has one: asked for, or nothing said against it."""
        there = folder is not None and folder.document(f"{cls.name}.json") is not None
        if asked or (asked is None and there):
            return None
        if asked is not None:
            return "not asked for"
        if folder is not None and folder.document("chain.json") is not None:
            return f"the run in {folder.path} was finished without one; {switch(cls.name)} makes it"
        if not isinstance(method, COMPOSED):
            return f"the attack is '{method.name}'; {switch(cls.name)} runs the ensemble too, and examines both"
        return None

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return the columns, the diagnosis for the chain, what it broke, and accuracy under all attacks."""
        finished = None if self.folder is None else self.folder.document(f"{self.name}.json")
        if self.folder is not None and finished is not None:
            columns = self.folder.columns(f"{self.name}.arrow", tuple(self.run_schema))
            return _findings(evidence, Diagnosis.from_json(finished), columns, Passes(**finished["spent"]))
        examination = Examination(
            subject,
            evidence,
            self.method,
            composed=isinstance(self.method, COMPOSED),
            # A stochastic model draws on from batch to batch, so one that was interrupted begins again.
            folder=None if self.folder is None or subject.classifier.stochastic else self.folder.parts(self.name),
            batch_size=self.batch_size,
            most=self.most,
        )
        before = subject.classifier.passes.copy()
        try:
            with preserved(subject.seed if subject.classifier.stochastic else None), subject.classifier.in_use():
                found = examination.run()
        except (ModelError, UnsupportedOperation) as error:
            # The attack's number stands, and costs more than what could not be examined.
            made = subject.classifier.passes - before
            ledger = Ledger.overhead(self.name, made.forward, made.backward)
            return RunFindings(chain={"undiagnosed": first_line(error)}, ledger=ledger)
        examination.raise_alarm()
        spent = examination.spent
        document = {**found.to_json(), "spent": {"forward": spent.forward, "backward": spent.backward}}
        return _findings(
            evidence, found, examination.columns(), spent, witnesses=examination.witnesses(), document=document
        )


def _findings(
    evidence: "pyarrow.Table", found: Diagnosis, columns: Columns, spent: Passes, **further: Any
) -> RunFindings:
    """Return what the chain says, and accuracy under all attacks."""
    broken = torch.tensor(columns["diagnosis.broken"], dtype=torch.bool)
    by = Counter(name for name in columns["diagnosis.by"] if name is not None)
    accuracy = accuracy_under_attack({**flags(evidence), "diagnosis.broken": broken})
    return RunFindings(
        bounds={ATTACK: accuracy},
        columns=columns,
        chain={"diagnosis": found, "further": dict(by), "examined": sum(columns["diagnosis.examined"])},
        ledger=Ledger.overhead("diagnosis", spent.forward, spent.backward),
        notes=found.notes,
        **further,
    )
