"""The training curves: loss, accuracies, and the three quantities of 17.6.1."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from epsball.figures import BLACK, BLUE, GREEN, SMALL, VERMILION, legend_above, new_figure
from epsball.training.evaluation.epoch import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


QUANTITIES = {
    "gap": ("generalisation gap", BLUE, "o", -0.12),
    "excess": ("excess risk", VERMILION, "s", 0.0),
    "optimal": ("optimal risk", GREEN, "^", 0.12),
}
"""Label, colour, marker and place beside the epoch of each: their intervals often share an end."""

ACCURACIES = (
    ("natural", BLUE, "o", "natural", "seen_natural"),
    ("under PGD-10", VERMILION, "s", "under_attack", "seen_under_attack"),
)
"""Label, colour, marker, and the fields of an epoch held out and trained on."""


def draw(history: Sequence[Epoch]) -> "Figure":
    """Return a figure of a history: training loss, accuracies, and the three quantities where they are known.

    Filled markers and solid lines are of examples held out, open markers and dashed lines of those trained on. Where no
    epoch has a certificate, nothing is known of two quantities, and a line below the panels says why.
    """
    proved = any(epoch.certified and epoch.quantities is not None for epoch in history)
    panels = 3 if proved else 2
    figure = new_figure(4.4 * panels, 3.9)
    axes = figure.subplots(1, panels)
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("epoch")
    epochs = [epoch.epoch for epoch in history]
    axes[0].plot(epochs, [epoch.loss for epoch in history], color=BLACK, marker="o", markersize=3)
    axes[0].set(ylabel="training loss (mean per example)")
    axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
    _accuracies(axes[1], history, epochs)
    if proved:
        _quantities(axes[2], history)
    elif history[-1].quantities is not None:
        figure.supxlabel(_nothing_proved(history[-1]), fontsize=SMALL)
    return figure


def _accuracies(axis: "Axes", history: Sequence[Epoch], epochs: list[int]) -> None:
    for label, colour, mark, held, seen in ACCURACIES:
        if getattr(history[0], held) is not None:
            style = {"color": colour, "marker": mark, "markersize": 3.5}
            axis.plot(epochs, [getattr(e, held) for e in history], label=f"{label}, held out", **style)
            seen_at = [getattr(e, seen) for e in history]
            open_marks = {"linestyle": "--", "linewidth": 0.9, "markerfacecolor": "white", **style}
            axis.plot(epochs, seen_at, label=f"{label}, trained on", **open_marks)
    proved = [(epoch.epoch, epoch.certified) for epoch in history if epoch.certified is not None]
    if proved:
        axis.plot(
            *zip(*proved, strict=True), color=GREEN, linestyle="-.", marker="^", markersize=3.5, label="certified"
        )
    axis.set(ylabel="accuracy", ylim=(-0.02, 1.02))
    legend_above(axis, columns=2)


def _quantities(axis: "Axes", history: Sequence[Epoch]) -> None:
    """Draw the intervals of the three quantities at the epochs with certificates; at others they are trivial."""
    proved = [(e.epoch, e.quantities) for e in history if e.certified and e.quantities is not None]
    for name, (label, colour, mark, beside) in QUANTITIES.items():
        at = [epoch + beside for epoch, _ in proved]
        lows, highs = ([getattr(getattr(q, name), end) for _, q in proved] for end in ("low", "high"))
        axis.vlines(at, lows, highs, color=colour, linewidth=min(1.6, 40.0 / len(at)))
        for ends, named in ((lows, label), (highs, None)):
            axis.plot(at, ends, color=colour, marker=mark, markersize=3.5, linestyle="none", label=named)
    axis.axhline(0.0, color=BLACK, linewidth=0.5)
    axis.set(ylabel="joint 95% intervals of risks")
    legend_above(axis, columns=3)


def _nothing_proved(last: Epoch) -> str:
    """Return what is known of the three quantities without certificates, in short lines."""
    optimal = "" if last.quantities is None else f" Optimal risk: at least {last.quantities.optimal.low:.4f}."
    known = "Generalisation gap and excess risk are not known: the attack bounds robust risks from below only"
    return textwrap.fill(f"{known} ({last.certificates}).{optimal}", 120)
