"""The figure of certificates: what all methods together prove of all examples, and each of those it was run on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from epsball.figures import BLACK, SMALL, UNBOUNDED, draw_survival, draw_zero, line_style, new_figure, nothing_drawn
from epsball.statistics import clopper_pearson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REACH = 2.0
"""How far below 0 the figure shows bounds, in units of the largest: loose ones may lie thousands below."""


def certificates_figure(
    margin: Float64[Tensor, " n"],
    stable: Bool[Tensor, " n"],
    margins: Mapping[str, Float64[Tensor, " n"]],
    method: Sequence[str | None],
) -> "Figure":
    """Return the shares of examples whose certified margin is at least a threshold.

    The first panel is about all examples and the best bound of each. The second has a curve for each method, as a
    share of the examples it was run on: in a cascade those that no cheaper method made stable, so that its curves
    compare no methods, but show what each adds. With one method there is one panel.

    Parameters
    ----------
    margin, stable, margins, method
        As in `Certificates`.
    """
    run = {name: bounds[~bounds.isnan()] for name, bounds in margins.items() if not bool(bounds.isnan().all())}
    if not run:
        return nothing_drawn("no example has a bound")
    panels = 1 if len(run) == 1 else 2
    figure = new_figure(5.6 * panels, 4.2)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    name = "best bound of all methods" if panels == 2 else next(iter(run))
    _draw_all(axes[0], margin, stable, name)
    if panels == 2:
        for number, (name, bounds) in enumerate(run.items()):
            label = f"{name}: run on {len(bounds)}, stable by it {list(method).count(name)}"
            draw_survival(axes[1], bounds, len(bounds), label=label, linewidth=1.6, **line_style(number))
        axes[1].set(xlabel="certified margin", ylabel="share of the examples it was run on", ylim=(0, 1.02))
        axes[1].set_title("each method, on the examples that no method before it made stable", fontsize=SMALL)
        axes[1].legend(frameon=False, fontsize=SMALL)
    for one, bounds in zip(axes, ([margin], list(run.values())), strict=False):
        draw_zero(one)
        _limit(one, torch.cat(bounds))
    return figure


def _draw_all(axes: "Axes", margin: Tensor, stable: Tensor, label: str) -> None:
    n, count = len(margin), int(stable.sum())
    draw_survival(axes, margin, n, label=label, color=BLACK, linewidth=1.8)
    interval = clopper_pearson(count, n)
    spread = [[count / n - interval.low], [interval.high - count / n]]
    label = f"stable (margin > 0): {count} of {n}, 95% interval"
    axes.errorbar([0.0], [count / n], spread, fmt="o", color=BLACK, markersize=5, capsize=4, label=label)
    axes.set(xlabel="certified margin of the predicted class", ylabel=f"share of all {n} examples", ylim=(0, 1.02))
    axes.set_title("all examples", fontsize=SMALL)
    axes.legend(frameon=False, fontsize=SMALL)


def _limit(axes: "Axes", bounds: Float64[Tensor, " k"]) -> None:
    """Show all thresholds above 0, and below it as far as the bounds are of a like size."""
    drawn = bounds[bounds.isfinite() & (bounds.abs() < UNBOUNDED)]
    if not len(drawn):
        return
    low, high = float(drawn.min()), float(drawn.max())
    low = max(low, -_REACH * high) if high > 0 else low
    room = 0.04 * (max(high, 0.0) - min(low, 0.0)) or 1.0
    axes.set_xlim(min(low, 0.0) - room, max(high, 0.0) + room)
