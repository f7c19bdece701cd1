"""Accuracy against radius: what audits within several balls add up to."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epsball.auditing.chain import ATTACK, CERTIFIED, LIMIT, NATURAL
from epsball.auditing.result import Audit
from epsball.ball import Ball
from epsball.results import Result, arrow_table, jsonable, text_table

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure

_PLACES = (NATURAL, ATTACK, CERTIFIED, LIMIT)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AuditsByRadius(Result):
    """Audits of one classifier on one data set within several balls.

    Parameters
    ----------
    audits
        One per ball, by norm and radius.
    folder
        The folder of their folders, or None.
    interrupted
        Whether balls are missing because it was interrupted.
    manifest
        The hash of the file that names the runs and their manifests.
    part
        Which part of the runs it is about, ``K/N``, where the others are audited elsewhere; None: all of them.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, y = torch.rand(8, 2), torch.arange(8) % 2
    >>> balls = [eb.Ball("linf", radius) for radius in ("0.05", "0.1")]
    >>> found = eb.audit(eb.Classifier(torch.nn.Linear(2, 2)), (x, y), balls, attack="fgsm", limit=False)
    >>> [str(ball) for ball in found.balls]
    ['linf:0.05', 'linf:0.1']
    """

    audits: tuple[Audit, ...]
    folder: Path | None = None
    interrupted: bool = False
    manifest: str | None = None
    part: str | None = None

    @property
    def balls(self) -> tuple[Ball, ...]:
        """The perturbation sets."""
        return tuple(audit.ball for audit in self.audits if audit.ball is not None)

    def _values(self, audit: Audit) -> list[float | None]:
        places = audit.chain.places
        return [places[name].value if name in places else None for name in _PLACES]

    def taken(self, audit: Audit) -> tuple[int, int]:
        """Return how many examples one of the audits took over from the others: broken, and certified."""
        names = audit.evidence.column_names
        counts = [
            sum(audit.evidence[name].to_pylist()) if name in names else 0 for name in ("taken.broken", "taken.stable")
        ]
        return counts[0], counts[1]

    def __str__(self) -> str:
        rows = []
        for audit in self.audits:
            diagnosis = audit.chain.diagnosis
            verdict = "-" if diagnosis is None else diagnosis.verdict
            rows.append((str(audit.ball), *self._values(audit), *self.taken(audit), _passes(audit), verdict))
        header = (
            "ball", "natural", "under attack", "certified", "1 - optimal risk", "broken taken", "certified taken",
            "passes", "diagnosis",
        )  # fmt: skip
        total = len(self.audits[0].evidence)
        lines = [f"{total} examples", text_table(header, rows)]
        lines.append("taken: from the runs within the other balls, whose file each row names")
        lines += ["interrupted: balls are missing"] if self.interrupted else []
        if self.part is not None:
            lines.append(f"part {self.part}: this is about its {total} examples; epsball merge joins the parts")
        return "\n".join(lines)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per ball and place of the chain: value and 95% interval for the source of the examples."""
        found = [
            (str(audit.ball), audit.ball, name, audit.chain.places[name])
            for audit in self.audits
            for name in _PLACES
            if name in audit.chain.places
        ]
        ends = [(np.nan, np.nan) if b.interval is None else (b.interval.low, b.interval.high) for *_, b in found]
        return arrow_table(
            {
                "ball": [text for text, *_ in found],
                "radius": np.array([np.nan if ball is None else float(ball.radius) for _, ball, *_ in found]),
                "place": [name for _, _, name, _ in found],
                "value": np.array([bound.value for *_, bound in found]),
                "low": np.array([low for low, _ in ends]),
                "high": np.array([high for _, high in ends]),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the chain of each audit, by ball, made of JSON's types."""
        document = {str(audit.ball): audit.to_json() for audit in self.audits}
        part = {} if self.part is None else {"part": self.part}
        return jsonable({"balls": document, "interrupted": self.interrupted, **part})

    def plot(self) -> "Figure":
        """Draw accuracy against radius, with 95% intervals for the source of the examples."""
        from epsball.auditing.series.figure import radii_figure

        return radii_figure(self.audits)


def _passes(audit: Audit) -> int:
    return sum(int(np.sum(audit.ledger[name].to_numpy())) for name in ("forwards", "backwards"))
