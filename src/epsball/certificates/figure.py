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
    figure = new_figure(5.6 * panels, 4.6)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    name = "best bound of all methods" if panels == 2 else next(iter(run))
    _draw_all(axes[0], margin, stable, name)
    _limit(axes[0], margin)
    if panels == 2:
        _draw_methods(axes[1], run, method)
    for one in axes:
        draw_zero(one)
        one.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, fontsize=SMALL)
    return figure


def _draw_all(axes: "Axes", margin: Tensor, stable: Tensor, label: str) -> None:
    n, count = len(margin), int(stable.sum())
    draw_survival(axes, margin, n, label=label, color=BLACK, linewidth=1.8)
    interval = clopper_pearson(count, n)
    spread = [[count / n - interval.low], [interval.high - count / n]]
    label = f"stable (margin > 0): {count} of {n}, 95% interval"
    axes.errorbar([0.0], [count / n], spread, fmt="o", color=BLACK, markersize=5, capsize=4, label=label)
    axes.set(xlabel="certified margin of the predicted class", ylabel=f"share of all {n} examples", ylim=(-0.02, 1.02))
    axes.set_title("all examples", fontsize=SMALL)


def _draw_methods(axes: "Axes", run: Mapping[str, Tensor], method: Sequence[str | None]) -> None:
    """Draw each method's curve over the examples it was run on; of curves left of the axes the label says so."""
    left = _limit(axes, torch.cat(list(run.values())))
    for number, (name, bounds) in enumerate(run.items()):
        label = f"{name}: run on {len(bounds)}, first stable by it {list(method).count(name)}"
        beyond = "" if bool((bounds > left).any()) else f" (all below {left:.3g})"
        draw_survival(axes, bounds, len(bounds), label=label + beyond, linewidth=1.6, **line_style(number))
    axes.set(xlabel="certified margin of the predicted class", ylabel="share of the examples it was run on")
    axes.set_ylim(-0.02, 1.02)
    axes.set_title("each method, on the examples that no method before it made stable", fontsize=SMALL)


def _limit(axes: "Axes", bounds: Float64[Tensor, " k"]) -> float:
    """Show all thresholds above 0, and below it as far as the bounds are of a like size; return the left end."""
    drawn = bounds[bounds.isfinite() & (bounds.abs() < UNBOUNDED)]
    low, high = (float(drawn.min()), float(drawn.max())) if len(drawn) else (-1.0, 1.0)
    low = max(low, -_REACH * high) if high > 0 else low
    room = 0.04 * (max(high, 0.0) - min(low, 0.0)) or 1.0
    left = min(low, 0.0) - room
    axes.set_xlim(left, max(high, 0.0) + room)
    return left
