"""What training returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from epsball import results
from epsball.classifier import Classifier
from epsball.models.card import Card

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch: mean training loss, next learning rate, accuracies on the part held out, seconds."""

    epoch: int
    loss: float
    lr: float
    natural: float
    under_attack: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """A trained classifier with its record.

    Parameters
    ----------
    classifier
        The trained module behind its normalisation.
    card
        What is needed to build it again, and where it comes from.
    history
        One `Epoch` an epoch.
    checkpoint
        The card's path, or None if no folder was given.
    """

    classifier: Classifier
    card: Card
    history: tuple[Epoch, ...]
    checkpoint: Path | None

    def __str__(self) -> str:
        header = ("epoch", "loss", "natural", "under attack", "seconds")
        rows = [(e.epoch, e.loss, e.natural, e.under_attack, round(e.seconds, 1)) for e in self.history]
        return results.text_table(header, rows)

    def to_json(self) -> dict[str, object]:
        """Return card, history and checkpoint as JSON's types."""
        return results.jsonable({"card": self.card, "history": self.history, "checkpoint": self.checkpoint})

    def to_arrow(self) -> "pyarrow.Table":
        """Return the history, a row an epoch."""
        names = Epoch.__dataclass_fields__
        return results.arrow_table({name: [getattr(e, name) for e in self.history] for name in names})

    def plot(self) -> "Figure":
        """Draw loss and held-out accuracies against epochs."""
        figure = results.new_figure(8.0, 3.4)
        left, right = figure.subplots(1, 2)
        epochs = [e.epoch for e in self.history]
        left.plot(epochs, [e.loss for e in self.history], marker=".")
        left.set(xlabel="epoch", ylabel="training loss")
        right.plot(epochs, [e.natural for e in self.history], marker=".", label="natural")
        if any(e.under_attack is not None for e in self.history):
            right.plot(epochs, [e.under_attack for e in self.history], marker=".", label="under PGD-10")
        right.set(xlabel="epoch", ylabel="held-out accuracy", ylim=(0, 1))
        right.legend()
        return figure
