"""Figures of a run, small enough to be legible on a phone: 4.6 inches wide."""

import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from epsball.auditing.chain import ATTACK, CERTIFIED, LIMIT, NATURAL
from epsball.auditing.reading.attacks import AttackNumbers
from epsball.auditing.reading.classes import ClassNumbers, shortened
from epsball.auditing.reading.methods import MethodNumbers
from epsball.auditing.reading.several import CURVES, AtRadius
from epsball.figures import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, SEQUENTIAL, SKY, SMALL, VERMILION, new_figure
from epsball.risk import RiskDecomposition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.6
_SIZE = 9.0
_MOST_CLASSES = 12

_EM, _UNRESERVED = "\u2003", 0.4
"""A space as wide as a wide letter, and the part of one that matplotlib does not reserve."""

_LOOKS = {ATTACK: (VERMILION, "o"), CERTIFIED: (BLUE, "s"), LIMIT: (GREEN, "D"), NATURAL: (GREY, "^")}
"""Colour and marker of the places of the chain: as the verdicts of a page, blue what is proved, warm what fell."""


def plain_axes(height: float, rows: int = 1, columns: int = 1) -> "tuple[Figure, list[list[Axes]]]":
    """Return a figure (inches) and its panels by row, each with two spines."""
    figure = new_figure(WIDTH, height)
    panels = figure.subplots(rows, columns, squeeze=False).tolist()
    for axes in (axes for row in panels for axes in row):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(GREY)
        axes.tick_params(labelsize=_SIZE, color=GREY, labelcolor=BLACK, length=3)
    return figure, panels


def _axes(height: float) -> "tuple[Figure, Axes]":
    figure, panels = plain_axes(height)
    return figure, panels[0][0]


def _percent(axes: "Axes", label: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.set_xlabel(label, fontsize=_SIZE)
    axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)


def _class_name(numbers: ClassNumbers) -> str:
    """Return a class's name; of one that is cut, its number too, since two may be cut alike."""
    name = _short(numbers.name)
    return name if "…" not in name else f"{numbers.label}: {_short(numbers.name, 13)}"


def _short(name: str, most: int = 16) -> str:
    """Return a name without what matplotlib takes for mathematics, its middle cut to what an axis has room for.

    Of wide letters an axis has room for half as many. matplotlib's own font has none of them, and reserves too little
    for what a reader's font draws: an em of space before the name makes up for it.
    """
    wide = _wide(name)
    cut = shortened(name, most if not wide else max(4, round(most * len(name) / (len(name) + wide))))
    return _EM * math.ceil(_UNRESERVED * _wide(cut)) + cut.replace("$", r"\$")


def _wide(text: str) -> int:
    """Return the number of letters as wide as high, as those of Chinese and Japanese."""
    return sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def class_figure(classes: Sequence[ClassNumbers]) -> "Figure":
    """Draw, of the worst classes, the share that stands with its exact 95% interval, and the share that is proved."""
    shown = list(classes[:_MOST_CLASSES])[::-1]
    figure, axes = _axes(0.9 + 0.27 * len(shown))
    rows = range(len(shown))
    if any(numbers.certified for numbers in shown):
        proved = [(numbers.certified or 0) / numbers.total for numbers in shown]
        axes.barh(rows, proved, height=0.62, color=SKY, label="certified")
    share = [numbers.share for numbers in shown]
    low = [max(0.0, numbers.share - numbers.interval.low) for numbers in shown]
    high = [max(0.0, numbers.interval.high - numbers.share) for numbers in shown]
    axes.errorbar(
        share, rows, xerr=[low, high], fmt="o", color=BLUE, markersize=4.5, linewidth=1.3, capsize=0, label="stands"
    )
    axes.set_yticks(rows, [_class_name(numbers) for numbers in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    _percent(axes, "share of the class, 95% interval")
    _legend(axes, axes.get_legend_handles_labels())
    return figure


def risk_figure(risks: RiskDecomposition) -> "Figure":
    """Draw natural, boundary and robust risk: what is known of each on these examples, and its 95% interval."""
    figure, axes = _axes(1.75)
    for row, name in enumerate(("robust", "boundary", "natural")):
        bracket = getattr(risks, name)
        axes.plot([bracket.interval.low, bracket.interval.high], [row, row], color=VERMILION, linewidth=1.3)
        if bracket.low == bracket.high:
            axes.plot([bracket.low], [row], "o", color=VERMILION, markersize=5, clip_on=False)
        else:
            axes.barh(row, bracket.high - bracket.low, left=bracket.low, height=0.5, color=VERMILION)
    axes.set_yticks(range(3), ["robust risk", "boundary risk", "natural risk"])
    axes.set_ylim(-0.6, 2.6)
    _percent(axes, "share of errors; bar or dot: these, line: 95% interval")
    return figure


def radius_figure(points: Sequence[AtRadius], norm: str, before: Sequence[AtRadius] = ()) -> "Figure":
    """Draw accuracy under attack, certified, natural, and the limit of the data against the radius.

    Robust accuracy lies in the grey area. Bars are 95% intervals. Runs of another network, `before`, are dashed.
    """
    figure, axes = _axes(3.1)
    both = [point.places for point in points if {ATTACK, CERTIFIED} <= point.places.keys()]
    if len(both) > 1:
        radii = [point.radius for point in points if point.places in both]
        low, high = ([places[name].value for places in both] for name in (CERTIFIED, ATTACK))
        axes.fill_between(radii, low, high, color=GREY, alpha=0.16, linewidth=0)
    for series, dashes in ((before, (0, (4, 2))), (points, "solid")):
        for name in CURVES:
            _curve(axes, [point for point in series if name in point.places], name, dashes)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.set_xlim(left=0)
    axes.set_xlabel(f"radius ({norm}, pixels of [0, 1])", fontsize=_SIZE)
    axes.grid(axis="y", color=LIGHT_GREY, linewidth=0.4, alpha=0.6)
    _legend(axes, axes.get_legend_handles_labels())
    return figure


def _curve(axes: "Axes", points: Sequence[AtRadius], name: str, dashes: Any) -> None:
    """Draw one place of the chain; that of a network before has no entry in the legend."""
    if not points:
        return
    colour, sign = _LOOKS[name]
    bounds = [point.places[name] for point in points]
    known = [None if bound.interval is None or bound.interval.is_trivial else bound.interval for bound in bounds]
    errors = [
        [0.0 if ends is None else max(0.0, bound.value - ends.low) for bound, ends in zip(bounds, known, strict=True)],
        [0.0 if ends is None else max(0.0, ends.high - bound.value) for bound, ends in zip(bounds, known, strict=True)],
    ]
    solid = dashes == "solid"
    looks = {"color": colour, "marker": sign, "markersize": 4 if solid else 3, "linestyle": dashes}
    label = name if solid else None
    radii = [point.radius for point in points]
    axes.errorbar(radii, [b.value for b in bounds], errors, label=label, linewidth=1.5, elinewidth=0.8, **looks)


def _legend(axes: "Axes", entries: tuple[Sequence[Any], Sequence[Any]]) -> None:
    axes.legend(
        *entries,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        frameon=False,
        fontsize=SMALL,
        borderaxespad=0.1,
        handlelength=1.5,
        columnspacing=1.2,
    )


def method_figure(methods: Sequence[MethodNumbers], total: int) -> "Figure":
    """Draw on how many examples each method of certificates ran, and how many it certifies."""
    shown = list(methods)[::-1]
    figure, axes = _axes(0.9 + 0.3 * len(shown))
    rows = np.arange(len(shown))
    axes.barh(rows, [method.tried / total for method in shown], height=0.62, color=LIGHT_GREY, label="bounded")
    axes.barh(rows, [method.proved / total for method in shown], height=0.34, color=BLUE, label="certified by it")
    axes.set_yticks(rows, [_short(method.name) for method in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    _percent(axes, f"share of {total:,} examples")
    _legend(axes, axes.get_legend_handles_labels())
    return figure


def attack_figure(attacks: Sequence[AttackNumbers], examples: int) -> "Figure":
    """Draw accuracy by attack with exact intervals; the number that may be reported stands out."""
    shown = list(attacks)[::-1]
    figure, axes = _axes(0.75 + 0.27 * len(shown))
    for row, found in enumerate(shown):
        colour = VERMILION if found.name == "reported" else BLUE
        axes.plot([found.interval.low, found.interval.high], [row, row], color=colour, linewidth=1.3)
        axes.plot([found.share], [row], "o", color=colour, markersize=4.5)
    axes.set_yticks(range(len(shown)), [_short(found.name, 22) for found in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    _percent(axes, f"accuracy on {examples:,} examples, 95% interval")
    return figure


def matrix_figure(rows: Sequence[str], columns: Sequence[str], values: np.ndarray, title: str) -> "Figure":
    """Draw a matrix of similarities between 0 and 1."""
    figure, axes = _axes(min(4.6, 1.4 + 0.24 * len(rows)))
    image = axes.pcolormesh(values, cmap=SEQUENTIAL, vmin=0, vmax=1, rasterized=False)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [_short(name, 10) for name in columns], rotation=60, ha="right")
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_short(name, 14) for name in rows])
    figure.colorbar(image, ax=axes, label=title)
    return figure
