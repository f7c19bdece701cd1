"""One-dimensional slices with the first-order line over them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from epsball.masking.landscape.drawing import style
from epsball.masking.landscape.lines import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from epsball.masking.landscape.result import Landscape, Quantity

_ROOM = 0.12


def draw_slice(axes: "Axes", landscape: "Landscape", i: int, k: int, quantity: "Quantity") -> None:
    """Draw an example's function along one direction, coloured by the predicted class.

    Over it the first-order line of eq. (3) and, dotted, both of its terms; the band is the part in N(x).
    """
    line, colours = landscape.lines[i][k], style.class_colours(landscape, i)
    e = line.e.numpy()
    f = (line.margin if quantity == "margin" else line.loss).numpy()
    low, high = _limits(f, zero=quantity == "margin")
    middle = len(e) // 2
    _shade(axes, line, colours)
    axes.axvspan(*line.inside, ymin=0, ymax=0.025, color=style.BLACK, linewidth=0)
    if quantity == "margin":
        axes.axhline(0.0, color=style.GREY, linewidth=0.8)
    slope, bend = (terms[style.FUNCTION[quantity]] for terms in (line.slope, line.bend))
    if np.isfinite(slope):
        axes.plot(e, f[middle] + slope * e, "--", color=style.BLACK, linewidth=1.3)
        axes.plot(e, f[middle] + slope * e + bend * e**2, ":", color=style.BLACK, linewidth=1.1)
    axes.plot(e, f, color=style.BLACK, linewidth=2.0)
    axes.scatter([0.0], [f[middle]], zorder=5, **style.MARKERS["x"])
    _draw_end(axes, landscape, i, k, f)
    axes.set(xlim=(e[0], e[-1]), ylim=(low, high))
    axes.set_xlabel(style.line_name(landscape, k), fontsize=style.SMALL)
    axes.set_ylabel(style.AXIS[quantity], fontsize=style.SMALL)
    axes.tick_params(labelsize=style.TINY)


_ENDS = {
    "gradient": ("FGSM",),
    "witness": ("witness", "lowest margin found"),
    "second-witness": ("second witness",),
}
"""The marks to which directions lead."""


def _draw_end(axes: "Axes", landscape: "Landscape", i: int, k: int, f: np.ndarray) -> None:
    """Mark the point to which the direction leads, where it is one that has a name."""
    names, line = _ENDS.get(landscape.directions[k], ()), landscape.lines[i][k]
    name = next((mark.name for mark in landscape.marks[i] if mark.name in names), None)
    if name is not None and abs(line.end) <= line.e[-1]:
        axes.scatter([line.end], [np.interp(line.end, line.e.numpy(), f)], zorder=5, **style.MARKERS[name])


def _limits(f: np.ndarray, *, zero: bool) -> tuple[float, float]:
    known = f[np.isfinite(f)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = _ROOM * (high - low) or 1.0
    return low - room, high + room


def _shade(axes: "Axes", line: Line, colours: Mapping[int, str]) -> None:
    """Colour the background by the predicted class, paler outside N(x)."""
    e, predicted = line.e.tolist(), line.predicted.numpy()
    borders = np.flatnonzero(np.diff(predicted)) + 1
    for part in np.split(np.arange(len(e)), borders):
        colour = colours[int(predicted[part[0]])]
        start = e[0] if part[0] == 0 else (e[part[0] - 1] + e[part[0]]) / 2
        end = e[-1] if part[-1] == len(e) - 1 else (e[part[-1]] + e[part[-1] + 1]) / 2
        for low, high, white in (
            (start, min(end, line.inside[0]), 0.8),
            (max(start, line.inside[0]), min(end, line.inside[1]), 0.45),
            (max(start, line.inside[1]), end, 0.8),
        ):
            if high > low:
                axes.axvspan(low, high, color=tuple(style.lightened(colour, white)), linewidth=0)
