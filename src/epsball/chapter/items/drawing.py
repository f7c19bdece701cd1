"""Drawings that many items share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from epsball.chapter.claim import Column
from epsball.figures import GREY, SMALL, line_style, marker
from epsball.statistics import clopper_pearson

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def with_interval(column: Column) -> tuple[float, float, float]:
    """Return the share of a 0-1 column and how far its exact 95% interval reaches down and up."""
    count, total = int(np.sum(np.asarray(column, dtype=bool))), len(column)
    interval, value = clopper_pearson(count, total), count / total
    return value, value - interval.low, interval.high - value


def draw_shares(axes: "Axes", columns: Mapping[str, Column], label: str) -> None:
    """Draw the share of each column as a bar with its interval and its value."""
    values, low, high = zip(*map(with_interval, columns.values()), strict=True)
    places = np.arange(len(columns))
    axes.barh(
        places, values, color=[line_style(number)["color"] for number in range(len(columns))], height=0.66, zorder=2
    )
    axes.errorbar(values, places, xerr=[low, high], fmt="none", ecolor=GREY, capsize=3, zorder=3)
    for place, value, reach in zip(places, values, high, strict=True):
        axes.annotate(
            f"{value:.2f}", (value + reach, place), (4, 0), textcoords="offset points", va="center", fontsize=SMALL
        )
    axes.set(yticks=places, yticklabels=list(columns), xlim=(0.0, 1.12), xlabel=label)
    axes.set_ylim(len(columns) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)


def draw_share_curves(axes: "Axes", x: Sequence[float], curves: Mapping[str, Sequence[Column]], first: int = 0) -> None:
    """Draw shares over x, one curve for each name, with their intervals, in the styles from the first number on."""
    for number, (name, columns) in enumerate(curves.items(), first):
        values, low, high = zip(*map(with_interval, columns), strict=True)
        style = line_style(number)
        axes.errorbar(x, values, yerr=[low, high], **style, marker=marker(number), markersize=4, capsize=3, label=name)
    axes.set(ylim=(-0.02, 1.02))
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(axes: "Axes", columns: int = 2) -> None:
    """Put the legend under the axes, where it hides nothing."""
    axes.legend(frameon=False, fontsize=SMALL, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.2))
