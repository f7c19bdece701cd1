"""The training curves: loss, accuracies, and the three quantities of 17.6.1."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epsball import results
from epsball.risk import Quantities
from epsball.training.result import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(history: Sequence[Epoch]) -> "Figure":
    """Return a figure of a history: what is held out in full lines, what was trained on in broken ones."""
    found = [epoch.quantities for epoch in history if epoch.quantities is not None]
    panels = 3 if len(found) == len(history) else 2
    figure = results.new_figure(4.0 * panels, 3.4)
    axes = figure.subplots(1, panels)
    epochs = [epoch.epoch for epoch in history]
    axes[0].plot(epochs, [epoch.loss for epoch in history], marker=".")
    axes[0].set(xlabel="epoch", ylabel="training loss")
    _accuracies(axes[1], history, epochs)
    if panels == 3:
        _bands(axes[2], found, epochs)
    return figure


def _accuracies(axis: "Axes", history: Sequence[Epoch], epochs: list[int]) -> None:
    for colour, label, held, seen in (
        ("C0", "natural", "natural", "seen_natural"),
        ("C1", "under PGD-10", "under_attack", "seen_under_attack"),
    ):
        if getattr(history[0], held) is not None:
            axis.plot(epochs, [getattr(e, held) for e in history], color=colour, marker=".", label=label)
            axis.plot(epochs, [getattr(e, seen) for e in history], color=colour, linestyle="--", linewidth=0.8)
    axis.set(xlabel="epoch", ylabel="accuracy: held out, trained on (- -)", ylim=(0, 1))
    axis.legend()


def _bands(axis: "Axes", found: Sequence[Quantities], epochs: list[int]) -> None:
    for i, (name, label) in enumerate((("gap", "gap"), ("excess", "excess risk"), ("optimal", "optimal risk"))):
        lows, highs = ([getattr(getattr(q, name), end) for q in found] for end in ("low", "high"))
        axis.fill_between(epochs, lows, highs, color=f"C{i}", alpha=0.15)
        axis.plot(epochs, lows, color=f"C{i}", label=label)
        axis.plot(epochs, highs, color=f"C{i}", linewidth=0.5)
    axis.axhline(0.0, color="black", linewidth=0.5)
    axis.set(xlabel="epoch", ylabel="joint 95% intervals", ylim=(-1.05, 1.05))
    axis.legend()
