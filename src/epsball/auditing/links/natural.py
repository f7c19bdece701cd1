"""The link of natural accuracy: the canonical pass at the examples themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.attacks import Ledger
from epsball.attacks.engine.judge import Judge
from epsball.attacks.engine.record import AT_EXAMPLE
from epsball.auditing.link import Columns, Findings, Shard
from epsball.classifier.margins import margins
from epsball.generator_state import preserved
from epsball.statistics import Bound, Interval, clopper_pearson


@dataclass(frozen=True, kw_only=True)
class NaturalLink:
    """Prediction and margin at the examples; correct means margin > 0, failed that there is none."""

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        return "natural"

    @property
    def schema(self) -> dict[str, str]:
        """The Arrow types of its columns."""
        return {
            "natural.prediction": "int64",
            "natural.margin": "double",
            "natural.correct": "bool",
            "natural.failed": "bool",
        }

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Judge the examples themselves."""
        classifier = shard.classifier
        judge = Judge(classifier)
        with preserved(shard.seed if classifier.stochastic else None), classifier.in_use():
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

    def places(self, evidence: Mapping[str, Tensor]) -> dict[str, Bound]:
        """Return natural accuracy as an upper end: an example without verdict counts for it."""
        correct, failed = evidence["natural.correct"], evidence["natural.failed"]
        low, high, n = int(correct.sum()), int((correct | failed).sum()), len(correct)
        interval = Interval(clopper_pearson(low, n).low, clopper_pearson(high, n).high)
        return {"natural accuracy": Bound(value=high / n, interval=interval, scope="distribution")}
