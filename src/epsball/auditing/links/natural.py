"""The link of natural accuracy: the canonical pass at the examples themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from epsball.attacks import Ledger
from epsball.attacks.engine.judge import Judge
from epsball.attacks.engine.record import AT_EXAMPLE
from epsball.auditing.chain import NATURAL
from epsball.auditing.evidence import flags
from epsball.auditing.fingerprint import STORED_AS
from epsball.auditing.link import Columns, Findings, Link, RunFindings
from epsball.auditing.sharing.source import Source
from epsball.auditing.subject import Shard, Subject
from epsball.classifier.margins import margins
from epsball.generator_state import preserved
from epsball.risk import natural_accuracy

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class NaturalLink(Link):
    """Prediction and margin at the examples; correct means margin > 0, failed that there is none.

    Parameters
    ----------
    known
        A run of the same network on the same examples whose natural pass is taken over; or None.
    """

    name: ClassVar[str] = "natural"
    schema: ClassVar[Mapping[str, str]] = {
        "natural.prediction": "int64",
        "natural.margin": "double",
        "natural.correct": "bool",
        "natural.failed": "bool",
    }

    known: Source | None = field(default=None, metadata={STORED_AS: None})

    def on_shard(self, shard: Shard, evidence: Columns) -> Findings:
        """Judge the examples themselves."""
        known = self.known
        found = shard.parts.kept("natural", lambda: self._judged(shard) if known is None else _taken(known, shard))
        if found is None:
            raise KeyboardInterrupt
        return found

    def _judged(self, shard: Shard) -> Findings:
        classifier = shard.subject.classifier
        judge = Judge(classifier)
        with preserved(shard.subject.seed if classifier.stochastic else None), classifier.in_use():
            logits = judge.logits(classifier.to_model(shard.x)).cpu()
        margin = margins(classifier.effective_logits(logits, shard.y), shard.y)
        failed = margin.isnan()
        rows = torch.arange(len(margin))
        spent = Ledger.judged(rows, "natural", margin, torch.full_like(rows, judge.cost))
        return Findings(
            columns={
                "natural.prediction": logits.argmax(1),
                "natural.margin": margin,
                "natural.correct": margin > 0,
                "natural.failed": failed,
            },
            invalid=dict.fromkeys(torch.nonzero(failed)[:, 0].tolist(), AT_EXAMPLE),
            ledger=Ledger.concatenate([spent, Ledger.overhead("padding", judge.padding)]),
        )

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return natural accuracy as an upper end: an example without a verdict counts for it."""
        columns = flags(evidence)
        return RunFindings(bounds={NATURAL: natural_accuracy(columns["natural.correct"], columns["natural.failed"])})


def _taken(source: Source, shard: Shard) -> Findings:
    """Return the natural pass of another run."""
    rows = [source.row(position) for position in shard.positions.tolist()]
    margin = [torch.nan if row["natural.margin"] is None else row["natural.margin"] for row in rows]
    failed = torch.tensor([row["natural.failed"] for row in rows])
    return Findings(
        columns={
            "natural.prediction": torch.tensor([row["prediction"] for row in rows]),
            "natural.margin": torch.tensor(margin, dtype=torch.float64),
            "natural.correct": torch.tensor([row["natural.correct"] for row in rows]),
            "natural.failed": failed,
        },
        invalid=dict.fromkeys(torch.nonzero(failed)[:, 0].tolist(), AT_EXAMPLE),
    )
