"""The link of natural accuracy: the canonical pass at the examples themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.attacks import Ledger
from epsball.attacks.judge import Judge, margins
from epsball.attacks.record import AT_EXAMPLE
from epsball.auditing.link import Columns, Findings, Shard
from epsball.statistics import Bound, clopper_pearson


@dataclass(frozen=True, kw_only=True)
class NaturalLink:
    """Columns ``natural.prediction``, ``natural.margin`` and ``natural.correct`` (margin > 0)."""

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        return "natural"

    def describe(self) -> dict[str, object]:
        """Return its options."""
        return {}

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Judge the examples themselves."""
        classifier = shard.classifier
        judge = Judge(classifier)
        with classifier.in_use():
            logits = judge.logits(classifier.adopt(shard.x)).cpu()
        margin = margins(logits, shard.y)
        bad = torch.nonzero(margin.isnan())[:, 0].tolist()
        rows = torch.arange(len(margin))
        spent = Ledger.judged(rows, "natural", margin, torch.full_like(rows, judge.cost))
        padding = Ledger.overhead("padding", judge.padding)
        return Findings(
            columns={
                "natural.prediction": logits.argmax(1),
                "natural.margin": margin,
                "natural.correct": margin > 0,
            },
            invalid=dict.fromkeys(bad, AT_EXAMPLE),
            ledger=Ledger.concatenate([spent, padding]),
        )

    def places(self, evidence: Mapping[str, Tensor]) -> dict[str, Bound]:
        """Return natural accuracy; invalid examples do not count as correct."""
        correct = evidence["natural.correct"] & ~evidence["invalid"]
        count, n = int(correct.sum()), len(correct)
        return {"natural accuracy": Bound(value=count / n, interval=clopper_pearson(count, n))}
