"""The figure of a front: certified accuracy, and accuracy under attack, over natural accuracy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epsball.figures import BLUE, GREY, SMALL, VERMILION, new_figure
from epsball.fronts.point import FrontPoint
from epsball.statistics import Bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def front_figure(points: Sequence[FrontPoint], *, option: str, title: str) -> "Figure":
    """Return the front: a line per seed, 95% intervals, the option's value at each network of the first seed.

    Networks trained anew beside a warm one are the open markers.
    """
    figure = new_figure(6.0, 4.4)
    axes = figure.subplots()
    series = (("under_attack", VERMILION, "s", "under attack"), ("certified", BLUE, "o", "certified"))
    for name, colour, shape, label in series:
        here = [point for point in points if getattr(point, name) is not None]
        for seed in dict.fromkeys(point.seed for point in here):
            chain = [point for point in here if point.seed == seed and not point.scratch]
            line = [(point.natural.value, getattr(point, name).value) for point in chain]
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.0, alpha=0.7) if line else None
        for point in here:
            bound = getattr(point, name)
            axes.errorbar(
                point.natural.value,
                bound.value,
                xerr=_beside(point.natural),
                yerr=_beside(bound),
                fmt=shape,
                color=colour,
                markerfacecolor="white" if point.scratch else colour,
                markersize=5.5,
                elinewidth=0.6,
                alpha=0.9,
                label=_once(axes.get_legend_handles_labels()[1], f"{label}{', trained anew' * point.scratch}"),
            )
    first = points[0].seed
    for point in points:
        if point.seed == first:
            place = (point.natural.value, (point.certified or point.under_attack).value)
            axes.annotate(point.value, place, xytext=(5, -11), textcoords="offset points", fontsize=SMALL, color=GREY)
    axes.set_xlabel("natural accuracy")
    axes.set_ylabel("accuracy within N(x)")
    axes.set_title(f"{title}\nat each network: {option}", fontsize=SMALL)
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


def _beside(bound: Bound) -> list[list[float]] | None:
    if bound.interval is None:
        return None
    return [[max(0.0, bound.value - bound.interval.low)], [max(0.0, bound.interval.high - bound.value)]]


def _once(shown: Sequence[str], label: str) -> str | None:
    return None if label in shown else label
