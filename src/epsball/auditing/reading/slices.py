"""Slices of a landscape in a run's folder: the margin along each direction, and what the gradient predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from epsball.auditing.reading.drawing import plain_axes
from epsball.auditing.reading.run import UNREADABLE
from epsball.figures import BLACK, BLUE, GREY, SMALL, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 4
"""Examples that are drawn, at most."""

_WAYS = {"gradient": "to FGSM's point", "witness": "to the witness", "second-witness": "to another witness"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """The margin of one example along one direction.

    Parameters
    ----------
    example, label
        Its position, and its class.
    way
        Where the direction leads.
    e, margin
        Coordinates in radii, and the margin there (m,).
    slope
        Change of the margin per radius that the gradient predicts; NaN where the model passes none.
    inside
        The least and largest coordinate within N(x).
    """

    example: int
    label: int
    way: str
    e: np.ndarray
    margin: np.ndarray
    slope: float
    inside: tuple[float, float]


def slices(document: Mapping[str, Any]) -> list[tuple[Slice, ...]]:
    """Return the slices in the content of ``landscape.json``, per example; none where they cannot be read."""
    try:
        return [
            tuple(_slice(i, int(label), way, line) for way, line in zip(document["directions"], lines, strict=True))
            for i, (label, lines) in enumerate(zip(document["label"], document["lines"], strict=True))
        ]
    except UNREADABLE:
        return []


def _slice(example: int, label: int, way: str, line: Mapping[str, Any]) -> Slice:
    low, high = line["inside"]
    slope = line["slope"]["margin"]
    return Slice(
        example=example,
        label=label,
        way=_WAYS.get(way, f"along {way}"),
        e=np.array(line["e"], dtype=np.float64),
        margin=np.array(line["margin"], dtype=np.float64),
        slope=np.nan if slope is None else float(slope),
        inside=(float(low), float(high)),
    )


def slices_figure(found: Sequence[Sequence[Slice]]) -> "Figure":
    """Draw the slices of the first examples, a row each: blue where the model is right, red where it is wrong."""
    shown = found[:MOST]
    figure, panels = plain_axes(0.35 + 1.35 * len(shown), rows=len(shown), columns=len(shown[0]))
    for row, ways in zip(panels, shown, strict=True):
        for axes, line in zip(row, ways, strict=True):
            _draw(axes, line)
        low, high = (
            min(axes.get_ylim()[0] for axes in row),
            max(axes.get_ylim()[1] for axes in row),
        )
        for axes in row:
            axes.set_ylim(low, high)
        row[0].set_ylabel(f"example {ways[0].example}", fontsize=SMALL)
    for axes, line in zip(panels[0], shown[0], strict=True):
        axes.set_title(line.way, fontsize=SMALL, loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("distance in radii", fontsize=SMALL)
    return figure


def _draw(axes: "Axes", line: Slice) -> None:
    known = line.margin[np.isfinite(line.margin)]
    low, high = (min(0.0, float(known.min())), max(0.0, float(known.max()))) if len(known) else (0.0, 1.0)
    room = 0.1 * (high - low) or 1.0
    axes.axvspan(*line.inside, color=GREY, alpha=0.14, linewidth=0)
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    middle = len(line.e) // 2
    if np.isfinite(line.slope):
        axes.plot(line.e, line.margin[middle] + line.slope * line.e, "--", color=BLACK, linewidth=1.0)
    for colour, here in ((BLUE, line.margin > 0), (VERMILION, line.margin <= 0)):
        # A value beyond each border too, so that the two colours meet.
        drawn = here | np.roll(here, 1) if colour == VERMILION else here
        axes.plot(line.e, np.where(drawn, line.margin, np.nan), color=colour, linewidth=1.6)
    axes.plot([0.0], [line.margin[middle]], "o", color=BLACK, markersize=3.5)
    axes.set_xlim(line.e[0], line.e[-1])
    axes.set_ylim(low - room, high + room)
