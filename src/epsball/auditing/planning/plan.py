"""`plan`: passes and time of an audit, from an audit of a few of its examples."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from epsball import data as datasets
from epsball.attacks import Attack
from epsball.auditing.audit import audit
from epsball.auditing.effort import SHARD, EffortName
from epsball.ball import Ball
from epsball.certificates import LowerBounds, Method, MethodName, Semantics
from epsball.checks import check_count
from epsball.classifier import Classifier
from epsball.names import NoCertificates
from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.workers.threads import threads

if TYPE_CHECKING:
    import pyarrow

EXAMINED = 1000
"""Most examples that the diagnosis examines, for at most half the attack's passes, or as many where it must."""

SAMPLE = 32


@dataclass(frozen=True, kw_only=True, repr=False)
class JobPlan(Result):
    """What an audit will take.

    Parameters
    ----------
    examples, shard_size
        The examples of the audit, and those of a shard.
    sampled
        The examples that were audited for this.
    passes
        Passes per example, forward and backward, guards and padded rows left out.
    seconds
        Seconds per example of one worker, on the kind of device it was measured on.
    device
        That kind.
    diagnosis
        Passes that the diagnosis takes at most, once, after the last shard.
    """

    examples: int
    shard_size: int
    sampled: int
    passes: float
    seconds: float
    device: str
    diagnosis: float

    @property
    def shards(self) -> int:
        """The number of shards."""
        return math.ceil(self.examples / self.shard_size)

    def hours(self, workers: int) -> float:
        """Return the hours that so many workers take for the shards, of which each does one at a time."""
        return math.ceil(self.shards / workers) * min(self.shard_size, self.examples) * self.seconds / 3600

    def __str__(self) -> str:
        counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count < 2 * self.shards]
        rows = [(count, math.ceil(self.shards / count), duration(3600 * self.hours(count))) for count in counts]
        return "\n".join(
            [
                f"{self.examples} examples in {self.shards} shards of {self.shard_size}",
                f"{self.passes:.0f} passes and {self.seconds:.3g} s per example, measured on {self.sampled} of them "
                f"({self.device}, one worker with one CPU thread)",
                f"{self.passes * self.examples:.3g} passes in all, and at most {self.diagnosis:.3g} of the diagnosis "
                "after the last shard",
                "",
                text_table(("workers", "shards each, at most", "time of the shards"), rows),
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        names = ("examples", "shard_size", "shards", "sampled", "passes", "seconds", "device", "diagnosis")
        return jsonable({name: getattr(self, name) for name in names})

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per number of workers: the most shards of one, and hours."""
        counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count < 2 * self.shards]
        return arrow_table(
            {
                "workers": torch.tensor(counts),
                "shards": torch.tensor([math.ceil(self.shards / count) for count in counts]),
                "hours": torch.tensor([self.hours(count) for count in counts], dtype=torch.float64),
            }
        )


def plan(
    classifier: Classifier,
    data: object,
    ball: Ball,
    *,
    effort: EffortName | None = None,
    attack: str | Attack | None = None,
    certificates: MethodName | NoCertificates | str | Method | Callable[..., LowerBounds] = "auto",
    semantics: Semantics = "float32",
    seed: int = 0,
    sample: int = SAMPLE,
    shard_size: int | None = None,
) -> JobPlan:
    """Return what an audit will take, by auditing a few examples spread over its data on one CPU thread.

    Parameters
    ----------
    classifier, data, ball, effort, attack, certificates, semantics, seed, shard_size
        As for `epsball.audit`.
    sample
        Examples that are audited.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, y = torch.rand(4000, 2), torch.arange(4000) % 2
    >>> classifier, ball = eb.Classifier(torch.nn.Linear(2, 2)), eb.Ball("linf", 0.1)
    >>> found = plan(classifier, (x, y), ball, attack="fgsm", certificates="none", sample=8)
    >>> found.shards, found.sampled
    (4, 8)
    """
    check_count("sample", sample, unit="examples")
    dataset = datasets.load(data)
    rows = _spread(len(dataset), sample)
    with threads(1):
        begun = time.monotonic()
        found = audit(
            classifier,
            dataset.only(rows),
            ball,
            effort=effort,
            attack=attack,
            certificates=certificates,
            semantics=semantics,
            seed=seed,
            limit=False,
            diagnosis=False,
        )
        seconds = (time.monotonic() - begun) / len(rows)
    table = found.evidence
    spent = sum(table[f"attack.{name}"].to_numpy().mean() for name in ("forwards", "backwards"))
    bounded = table["certificate.passes"].to_numpy().mean() if "certificate.passes" in table.column_names else 0.0
    return JobPlan(
        examples=len(dataset),
        shard_size=shard_size or SHARD,
        sampled=len(rows),
        passes=float(spent + bounded),
        seconds=seconds,
        device=classifier.device.type,
        diagnosis=float(min(EXAMINED, len(dataset)) * spent),
    )


def _spread(total: int, count: int) -> Sequence[int]:
    """Return at most `count` positions, evenly spread."""
    return sorted({round(at * (total - 1) / max(1, count - 1)) for at in range(min(count, total))})


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    Examples
    --------
    >>> duration(42.0), duration(5400.0), duration(400000.0)
    ('42 s', '1.5 h', '4.6 d')
    """
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size or (unit == "h" and seconds >= size):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
