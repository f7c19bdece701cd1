"""How figures look, in one place: colours that colour-blind readers tell apart, dashes and markers for grey print."""

import io
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float64
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, GREY = "#222222", "#6B6B6B"
PURE_BLACK, WHITE = "#000000", "#FFFFFF"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
"""The colours of Okabe and Ito (2008) but yellow, which is too light for lines on white."""

YELLOW, LIGHT_GREY = "#F0E442", "#999999"
"""For areas only."""

SEQUENTIAL, DIVERGING = "magma", "RdBu_r"
"""Colour maps of even lightness: of shares, and of signed numbers, blue below 0 and red above."""

SMALL = 8.5
"""Size in points of legends and titles of panels."""

UNBOUNDED = 1e300
"""Numbers from here on stand for infinity (an overflow on the way), and are not drawn."""

PAGE = {
    "paper": ("#FFFFFF", "#13171B"),
    "raised": ("#F4F6F8", "#1C2228"),
    "line": ("#D3D9DF", "#38414A"),
    "ink": ("#1A2027", "#E8ECF0"),
    "soft": ("#55606B", "#A6B1BC"),
    "accent": ("#00568A", "#7FC8F2"),
    "blue": (BLUE, "#4AA8E0"),
    "sky": ("#8CC8EC", "#B5DDF4"),
    "vermilion": (VERMILION, "#F28A4A"),
    "purple": ("#B5588A", "#DDA3C4"),
    "orange": (ORANGE, "#F0B84A"),
    "green": (GREEN, "#3FBF9A"),
    "grey": (GREY, "#98A2AC"),
}
"""Colours of a page by what they are for, on light and on dark paper; text on paper has a contrast of 4.5 or more."""

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
_DASHES = ("-", "--", "-.", ":")
_MARKERS = "osD^vP"


def new_figure(width: float = 6.4, height: float = 4.0) -> "Figure":
    """Return an empty matplotlib figure (inches) that belongs to no global state; a notebook shows it as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    vars(figure)["_repr_png_"] = partial(png, figure)  # Notebooks draw figures of pyplot by themselves, not others.
    return figure


def png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120, format="png")
    return buffer.getvalue()


def nothing_drawn(reason: str) -> "Figure":
    """Return a figure that says in words why there is nothing to draw."""
    figure = new_figure(4.8, 1.2)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", color=BLACK, wrap=True)
    return figure


def diverging() -> list[list[int]]:
    """Return the colours of the least, the middle and the largest signed number, as red, green, blue of 0..255."""
    import matplotlib as mpl

    colours = mpl.colormaps[DIVERGING]([0.08, 0.5, 0.92], bytes=True)
    return [[int(value) for value in colour[:3]] for colour in colours]


def line_style(number: int) -> dict[str, Any]:
    """Return colour and dashes of the curve of a number: 24 that differ, any two neighbours in both."""
    dash = (number + number // 12) % len(_DASHES)
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _DASHES[dash]}


def marker(number: int) -> str:
    """Return the marker of the curve of a number."""
    return next(islice(cycle(_MARKERS), number, None))


def radius_label(norm: str, unit: str = "pixels of [0, 1]") -> str:
    """Return the label of an axis of radii."""
    return f"radius ε ({norm}, {unit})" if unit else f"radius ε ({norm})"


def draw_survival(axes: "Axes", values: Float64[Tensor, " k"], total: int, **style: Any) -> None:
    """Draw, for every threshold, the share of `total` examples whose value is at least that.

    Values that are not finite are counted and not drawn: +inf lies above every threshold, the others below.
    """
    drawn = values[values.isfinite() & (values.abs() < UNBOUNDED)].sort().values.cpu()
    if not len(drawn):
        return
    above = int((values >= UNBOUNDED).sum())
    share = (above + torch.arange(len(drawn), -1, -1, dtype=torch.float64)) / total
    # Beyond the largest value only those above every threshold are left.
    axes.step(torch.cat([drawn, drawn[-1:]]).numpy(), share.numpy(), where="pre", **style)


def draw_zero(axes: "Axes") -> None:
    """Draw the line at margin 0, beyond which a prediction holds."""
    axes.axvline(0.0, color=GREY, linewidth=0.8, linestyle=(0, (1, 1)))


def legend_above(axes: "Axes", columns: int = 3) -> None:
    """Put the legend above the axes, where it hides no line."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, frameon=False, fontsize=SMALL)
