"""The link at the right end: what the data allow any classifier, on all audited examples together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from epsball.auditing.chain import LIMIT, CrossEntropy
from epsball.auditing.effort import LIMIT_BYTES
from epsball.auditing.link import Link, RunFindings
from epsball.auditing.subject import Subject
from epsball.limits import Limit, LinkColumns, link_columns
from epsball.risk import adversarial_cross_entropy
from epsball.statistics import Bound, Interval

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class LimitLink(Link):
    """Which examples every classifier must give up, and the optimal adversarial risk of all of them.

    It is about all examples at once, so it finds nothing on a single shard, nor where there is one class only.

    Parameters
    ----------
    max_bytes
        Size of the stored examples above which it is left out: all of them are in memory at once.
    """

    name: ClassVar[str] = "limit"
    run_schema: ClassVar[Mapping[str, str]] = {"limit.hard": "string"}

    max_bytes: int = LIMIT_BYTES

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return 1 - the optimal risk of the examples, with its bound for their source, and their cross-entropy."""
        dataset = subject.dataset
        x, _ = dataset[:1]
        if len(dataset.labels.unique()) < 2 or len(dataset) * x.nbytes > self.max_bytes:
            return RunFindings()
        found = link_columns(*dataset[:], subject.ball)
        return RunFindings(
            bounds={LIMIT: _ceiling(found.limit)},
            columns=dict(found.columns),
            chain={"limit": found.limit, "cross_entropy": _cross_entropy(found, evidence)},
            document=_pairs(found, evidence),
        )


def _pairs(found: LinkColumns, evidence: "pyarrow.Table") -> dict[str, Any] | None:
    """Return the document that names pairs in conflict by their positions; None where there is none."""
    index = evidence["index"].to_pylist()
    pairs = [[index[a], index[b]] for a, b in found.pairs]
    return {"conflicts": found.limit.conflicts, "pairs": pairs} if pairs else None


def _ceiling(limit: Limit) -> Bound:
    end = limit.distribution.interval
    interval = None if end is None else Interval(0.0, 1.0 - end.low)
    return Bound(value=1.0 - limit.stored, interval=interval, scope="distribution")


def _cross_entropy(found: LinkColumns, evidence: "pyarrow.Table") -> CrossEntropy | None:
    """Compare the least margins seen with the least cross-entropy possible, where that was bounded."""
    if found.cross_entropy is None:
        return None
    names = [n for n in ("natural.margin", "attack.margin", "diagnosis.margin") if n in evidence.column_names]
    least = np.fmin.reduce([evidence[name].to_numpy().astype(np.float64) for name in names])
    return CrossEntropy(classifier=adversarial_cross_entropy(least), optimal=found.cross_entropy)
