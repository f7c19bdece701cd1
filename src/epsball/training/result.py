"""What training returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball import results
from epsball.classifier import Classifier
from epsball.models.card import Card
from epsball.risk import Quantities
from epsball.training.evaluation.curves import draw
from epsball.training.evaluation.epoch import Epoch, best_of

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Training(results.Result):
    """A trained classifier with its record.

    Parameters
    ----------
    classifier
        The trained module behind its normalisation, after the last epoch.
    card
        What is needed to build it again, and where it comes from.
    history
        One `Epoch` per epoch.
    checkpoint
        The card's path, or None if no folder was given.
    best
        The path of the card of the best epoch's weights, or None.
    interrupted
        Whether the training was interrupted: the epochs measured before, as the exception's `partial`.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x = torch.linspace(0, 1, 40).view(20, 2)
    >>> recipe = eb.training.Recipe(epochs=2, batch_size=9)
    >>> result = eb.train(torch.nn.Linear(2, 2), (x, (x[:, 0] > 0.5).long()), recipe=recipe)
    >>> result.to_arrow()["epoch"].to_pylist()
    [1, 2]
    """

    classifier: Classifier
    card: Card
    history: tuple[Epoch, ...]
    checkpoint: Path | None
    best: Path | None = None
    interrupted: bool = False

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
        if self.interrupted:
            lines.append(f"interrupted: epoch {last.epoch} is the last one measured")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """Return card, history and paths as JSON's types."""
        names = ("card", "history", "checkpoint", "best", "interrupted")
        parts = {name: getattr(self, name) for name in names}
        return results.jsonable(parts)

    def to_arrow(self) -> "pyarrow.Table":
        """Return the history, one row per epoch; intervals of the quantities as columns ``gap.low`` and so on."""
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
        return draw(self.history)
