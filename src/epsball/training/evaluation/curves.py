"""The training curves: loss, accuracies, and the three quantities of 17.6.1."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from epsball import results
from epsball.training.evaluation.epoch import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


QUANTITIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gap": ("generalisation gap", {"linewidth": 1.0}),
    "excess": ("excess risk", {"linewidth": 3.0, "alpha": 0.5}),
    "optimal": ("optimal risk", {"linewidth": 1.0, "linestyle": "--"}),
}
"""Label and line of each: the wide one lies under the dashed one, since their ends often agree."""


def draw(history: Sequence[Epoch]) -> "Figure":
    """Return a figure of a history: solid lines for examples held out, dashed ones for those trained on."""
    panels = 3 if all(epoch.quantities is not None for epoch in history) else 2
    figure = results.new_figure(4.2 * panels, 3.6)
    axes = figure.subplots(1, panels)
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
    epochs = [epoch.epoch for epoch in history]
    axes[0].plot(epochs, [epoch.loss for epoch in history], marker=".")
    axes[0].set(xlabel="epoch", ylabel="training loss")
    _accuracies(axes[1], history, epochs)
    if panels == 3:
        _quantities(axes[2], history)
    return figure


def _accuracies(axis: "Axes", history: Sequence[Epoch], epochs: list[int]) -> None:
    for colour, label, held, seen in (
        ("C0", "natural", "natural", "seen_natural"),
        ("C1", "under PGD-10", "under_attack", "seen_under_attack"),
    ):
        if getattr(history[0], held) is not None:
            axis.plot(epochs, [getattr(e, held) for e in history], color=colour, marker=".", label=label)
            axis.plot(epochs, [getattr(e, seen) for e in history], color=colour, linestyle="--", linewidth=0.8)
    proved = [(epoch.epoch, epoch.certified) for epoch in history if epoch.certified]
    if proved:
        axis.plot(*zip(*proved, strict=True), "C2.-", label="certified")
    axis.set(xlabel="epoch", ylabel="accuracy: held out, trained on (- -)", ylim=(0, 1))
    _legend_above(axis)


def _quantities(axis: "Axes", history: Sequence[Epoch]) -> None:
    """Draw the three quantities as bands over the epochs with certificates; if there are none, say why."""
    proved = [(epoch.epoch, epoch.quantities) for epoch in history if epoch.certified and epoch.quantities]
    axis.set(xlabel="epoch", ylabel="joint 95% intervals")
    if not proved:
        axis.set(xticks=[], yticks=[], xlabel="", ylabel="")
        axis.text(0.5, 0.5, _nothing_proved(history[-1]), ha="center", va="center", transform=axis.transAxes)
        return
    epochs = [epoch for epoch, _ in proved]
    for i, (name, (label, style)) in enumerate(QUANTITIES.items()):
        lows, highs = ([getattr(getattr(q, name), end) for _, q in proved] for end in ("low", "high"))
        axis.fill_between(epochs, lows, highs, color=f"C{i}", alpha=0.15)
        axis.plot(epochs, lows, color=f"C{i}", marker=".", label=label, **style)
        axis.plot(epochs, highs, color=f"C{i}", marker=".", **style)
    axis.axhline(0.0, color="black", linewidth=0.5)
    _legend_above(axis)


def _nothing_proved(last: Epoch) -> str:
    """Return what is known of the three quantities without certificates, in a few short lines."""
    optimal = "" if last.quantities is None else f"\n\noptimal risk: at least {last.quantities.optimal.low:.4f}"
    reason = textwrap.fill(last.certificates, 40)
    text = "gap and excess risk are not known:\nthe attack bounds robust risks from below only"
    return f"{text}\n\n{reason}{optimal}"


def _legend_above(axis: "Axes") -> None:
    """Put the legend above the axes, where it hides no line."""
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize="small")
