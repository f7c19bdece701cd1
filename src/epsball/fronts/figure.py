"""The figure of a front: certified accuracy, and accuracy under attack, over natural accuracy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epsball.figures import BLUE, GREY, SMALL, VERMILION, new_figure
from epsball.fronts.point import FrontPoint
from epsball.statistics import Bound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
            natural, height = [p.natural.value for p in chain], [getattr(p, name).value for p in chain]
            axes.plot(natural, height, color=colour, linewidth=1.0, alpha=0.7)
        for point in here:
            _draw(axes, point, getattr(point, name), colour, shape, label + ", trained anew" * point.scratch)
    for number, point in enumerate(point for point in points if point.seed == points[0].seed):
        place = (point.natural.value, (point.certified or point.under_attack).value)
        # In turn nearer and farther below: neighbours on a front may be close.
        below = (4, -22 if number % 2 else -12)
        axes.annotate(point.value, place, below, textcoords="offset points", fontsize=SMALL, color=GREY)
    axes.set_xlabel("natural accuracy")
    axes.set_ylabel("accuracy within N(x)")
    axes.set_title(f"{title}\nat each network: {option}", fontsize=SMALL)
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


def _draw(axes: "Axes", point: FrontPoint, bound: Bound, colour: str, shape: str, label: str) -> None:
    """Draw a network with both of its intervals; the first of a label stands in the legend."""
    place = (point.natural.value, bound.value)
    across, along = _beside(point.natural), _beside(bound)
    axes.errorbar(*place, xerr=across, yerr=along, fmt="none", ecolor=colour, elinewidth=0.9, alpha=0.35)
    fill = "white" if point.scratch else colour
    new = label not in axes.get_legend_handles_labels()[1]
    axes.plot(*place, shape, color=colour, markerfacecolor=fill, markersize=5.5, label=label if new else None)


def _beside(bound: Bound) -> list[list[float]] | None:
    if bound.interval is None:
        return None
    return [[max(0.0, bound.value - bound.interval.low)], [max(0.0, bound.interval.high - bound.value)]]
