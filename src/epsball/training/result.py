"""What training returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball import results
from epsball.classifier import Classifier
from epsball.models.card import Card
from epsball.risk import Quantities
from epsball.statistics import Interval
from epsball.training.measured import Findings

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch.

    Parameters
    ----------
    epoch
        Its number, from 1.
    loss
        Mean training loss.
    parts
        Means of the objective's parts.
    lr
        Learning rate of the next step.
    natural, under_attack
        Accuracies on the examples held out: at the examples, and under PGD-10 (None without a
        ball). Natural risk is 1 - natural; natural - under_attack bounds the boundary risk below.
    seen_natural, seen_under_attack
        The same on as many of the examples trained on.
    certified
        Certified accuracy on those held-out examples for which certificates were tried; None if
        none were. It bounds the robust risk above; without it the upper ends of `quantities` say
        nothing.
    certificates
        How many were tried and found, or why none were.
    quantities
        The three quantities of 17.6.1, together at 95% in this epoch, or None without a ball.
    seconds
        Wall time of its training, evaluation not counted.
    """

    epoch: int
    loss: float
    parts: dict[str, float]
    lr: float
    natural: float
    under_attack: float | None
    seen_natural: float
    seen_under_attack: float | None
    certified: float | None = None
    certificates: str = ""
    quantities: Quantities | None
    seconds: float

    @classmethod
    def of(cls, findings: Findings, found: Quantities | None, **numbers: Any) -> "Epoch":
        """Return the epoch of findings and of the other numbers."""
        held, seen = findings.held, findings.seen
        return cls(
            natural=held.natural / held.total,
            under_attack=None if held.under_attack is None else held.under_attack / held.total,
            seen_natural=seen.natural / seen.total,
            seen_under_attack=None if seen.under_attack is None else seen.under_attack / seen.total,
            certified=held.certified / held.bounded if held.bounded else None,
            certificates=findings.certificates,
            quantities=found,
            **numbers,
        )

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Epoch":
        """Return the epoch that `epsball.results.jsonable` wrote."""
        found = document["quantities"]
        intervals = None if found is None else {name: Interval(**ends) for name, ends in found.items()}
        return cls(**{**document, "quantities": None if intervals is None else Quantities(**intervals)})

    @property
    def criterion(self) -> float:
        """What the best epoch is chosen by: held-out accuracy under attack, or natural accuracy without a ball."""
        return self.natural if self.under_attack is None else self.under_attack


def best_of(history: Sequence[Epoch]) -> Epoch:
    """Return the epoch of the highest criterion, the earliest of equals."""
    return max(history, key=lambda epoch: (epoch.criterion, -epoch.epoch))


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """A trained classifier with its record.

    Parameters
    ----------
    classifier
        The trained module behind its normalisation, after the last epoch.
    card
        What is needed to build it again, and where it comes from.
    history
        One `Epoch` an epoch.
    checkpoint
        The card's path, or None if no folder was given.
    best
        The path of the card of the best epoch's weights, or None.
    """

    classifier: Classifier
    card: Card
    history: tuple[Epoch, ...]
    checkpoint: Path | None
    best: Path | None = None

    def __str__(self) -> str:
        header = ("epoch", "loss", "natural", "under attack", "trained on: natural", "under attack", "seconds")
        rows = [
            (e.epoch, e.loss, e.natural, e.under_attack, e.seen_natural, e.seen_under_attack, round(e.seconds, 1))
            for e in self.history
        ]
        best, last = best_of(self.history), self.history[-1]
        chosen = f"best epoch {best.epoch}: {best.criterion:.4f} held out; last {last.epoch}: {last.criterion:.4f}"
        lines = [results.text_table(header, rows), chosen]
        if last.quantities is not None:
            lines += ["", f"last epoch: {last.certificates}", str(last.quantities)]
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """Return card, history and paths as JSON's types."""
        parts = {"card": self.card, "history": self.history, "checkpoint": self.checkpoint, "best": self.best}
        return results.jsonable(parts)

    def to_arrow(self) -> "pyarrow.Table":
        """Return the history, a row an epoch; intervals of the quantities as columns ``gap.low`` and so on."""
        plain = [name for name in Epoch.__dataclass_fields__ if name not in ("parts", "quantities")]
        columns: dict[str, list[Any]] = {name: [getattr(e, name) for e in self.history] for name in plain}
        columns |= {name: [e.parts[name] for e in self.history] for name in self.history[0].parts}
        if all(e.quantities is not None for e in self.history):
            for name in Quantities.__dataclass_fields__:
                for end in ("low", "high"):
                    columns[f"{name}.{end}"] = [getattr(getattr(e.quantities, name), end) for e in self.history]
        return results.arrow_table(columns)

    def plot(self) -> "Figure":
        """Draw loss, accuracies and the three quantities against epochs."""
        from epsball.training.curves import draw

        return draw(self.history)
