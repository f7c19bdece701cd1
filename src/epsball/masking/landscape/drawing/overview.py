"""One row per example: slices along both directions, the map, and the surface."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from epsball.masking.landscape.drawing import style
from epsball.masking.landscape.drawing.maps import draw_map, outside_box
from epsball.masking.landscape.drawing.slices import draw_slice
from epsball.masking.landscape.drawing.surfaces import draw_surface
from epsball.results import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from epsball.masking.landscape.result import Landscape, Quantity

_LONGEST = 26
"""Characters of a title that fit over a panel."""


def overview(landscapes: Mapping[str, "Landscape"], quantity: "Quantity", examples: Sequence[int]) -> "Figure":
    """Draw examples of one or several classifiers, row under row, each under its classifier's title."""
    wanted = [
        (landscape, i, f"{_short(title)}, example {i}" if title else f"example {i}")
        for i in examples
        for title, landscape in landscapes.items()
    ]
    return rows(wanted, quantity)


def _short(title: str) -> str:
    """Return a title that fits over one panel: the end of a long one."""
    return title if len(title) <= _LONGEST else f"…{title[1 - _LONGEST :]}"


def rows(wanted: Sequence[tuple["Landscape", int, str]], quantity: "Quantity") -> "Figure":
    """Draw one row per landscape, example and title."""
    figure = new_figure(15.2, 3.75 * len(wanted) + 0.5)
    grid = figure.add_gridspec(len(wanted), 4, width_ratios=(1.05, 1.05, 1.0, 1.05))
    for row, (landscape, i, title) in enumerate(wanted):
        first, second, third = (figure.add_subplot(grid[row, k]) for k in range(3))
        draw_slice(first, landscape, i, 0, quantity)
        draw_slice(second, landscape, i, 1, quantity)
        draw_map(third, landscape, i, quantity)
        surface: Any = figure.add_subplot(grid[row, 3], projection="3d")
        draw_surface(surface, landscape, i, quantity)
        first.set_title(f"{title}, label {int(landscape.y[i])}", fontsize=10, loc="left", fontweight="bold")
        second.set_title(_summary(landscape, i, quantity), fontsize=style.SMALL, loc="left")
        _name_classes(third, landscape, i)
    _name_marks(figure, wanted)
    return figure


def _summary(landscape: "Landscape", i: int, quantity: "Quantity") -> str:
    """Return the numbers that say how far the gradient can be trusted."""
    found = landscape.numbers[style.FUNCTION[quantity]]
    change, first, gamma = (float(values[i]) for values in (found.change, found.first, found.gamma))
    return f"to FGSM's point {change:+.3g}, first order {first:+.3g}, $\\gamma$ {gamma:.3g}"


def _name_classes(axes: "Axes", landscape: "Landscape", i: int) -> None:
    from matplotlib.patches import Patch

    label = int(landscape.y[i])
    handles = [
        Patch(color=tuple(style.lightened(colour, 0.45)), label=f"{c} (label)" if c == label else str(c))
        for c, colour in list(style.class_colours(landscape, i).items())[:7]
    ]
    options: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "frameon": False}
    axes.legend(handles=handles, ncols=min(4, len(handles)), fontsize=style.TINY, handlelength=1.0, **options)


def _name_marks(figure: "Figure", wanted: Sequence[tuple["Landscape", int, str]]) -> None:
    """Put one legend of lines and points above all rows."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names = {"x", *(mark.name for landscape, i, _ in wanted for mark in landscape.marks[i])}
    lines: tuple[tuple[Any, float, str], ...] = (
        ("-", 2.0, "model"),
        ("--", 1.3, "first order"),
        (":", 1.1, "first and second order"),
    )
    handles: list[Any] = [Line2D([], [], color=style.BLACK, linestyle=d, linewidth=w, label=t) for d, w, t in lines]
    handles.append(Line2D([], [], color=style.BLACK, linewidth=3.0, label="outline of N(x)"))
    if any(outside_box(landscape, i) for landscape, i, _ in wanted):
        handles.append(Patch(facecolor="white", edgecolor="0.6", hatch="////", linewidth=0, label="outside the box"))
    for name in style.legend_order(sorted(names)):
        marker, size = style.MARKERS[name]["marker"], style.MARKERS[name]["s"] ** 0.5
        options: dict[str, Any] = {"color": "none", "markeredgecolor": style.BLACK, "markerfacecolor": "white"}
        handles.append(Line2D([], [], marker=marker, markersize=size, label=style.NAMES.get(name, name), **options))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=style.SMALL)
