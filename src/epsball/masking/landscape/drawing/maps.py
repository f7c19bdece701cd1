"""Maps: decision regions, contours, the outline of N(x), and the points that matter."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.masking.landscape.drawing import style
from epsball.masking.landscape.marks import IN_PLANE
from epsball.masking.landscape.outline import SQUARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from epsball.masking.landscape.result import Landscape, Quantity

_PIXELS = 360
_LEVELS = 9


def draw_map(axes: "Axes", landscape: "Landscape", i: int, quantity: "Quantity") -> None:
    """Draw an example's plane: regions by predicted class, contours, the outline of N(x), hatched outside the box."""
    axis, colours = landscape.axis.numpy(), style.class_colours(landscape, i)
    reach = float(axis[-1])
    picture = style.painted(style.regions(landscape, i, _PIXELS), colours, 0.45)
    square = (-reach, reach, -reach, reach)
    axes.imshow(picture, origin="lower", extent=square, interpolation="nearest", zorder=0)
    _draw_contours(axes, landscape, i, quantity)
    _draw_outside(axes, landscape, i, reach)
    outline = landscape.outline[i]
    if len(outline) > 1:
        axes.fill(*outline.T, fill=False, edgecolor=style.BLACK, linewidth=2.0, zorder=3, clip_on=True)
    axes.scatter([0.0], [0.0], zorder=5, **style.MARKERS["x"])
    for mark in landscape.marks[i]:
        if max(abs(mark.e1), abs(mark.e2)) <= reach:
            axes.scatter([mark.e1], [mark.e2], zorder=5, **style.marker(mark, IN_PLANE))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_xlabel(style.axis_name(landscape, 0), fontsize=style.SMALL)
    axes.set_ylabel(style.axis_name(landscape, 1), fontsize=style.SMALL)
    axes.tick_params(labelsize=style.TINY)


def _draw_contours(axes: "Axes", landscape: "Landscape", i: int, quantity: "Quantity") -> None:
    axis, f = landscape.axis.numpy(), style.heights(landscape, quantity, i).numpy()
    if not np.isfinite(f).any() or np.nanmin(f) == np.nanmax(f):
        return
    from matplotlib.ticker import MaxNLocator

    levels = [v for v in MaxNLocator(_LEVELS).tick_values(float(np.nanmin(f)), float(np.nanmax(f))) if v != 0]
    lines = axes.contour(axis, axis, f, levels=levels, colors=style.BLACK, linewidths=0.6, alpha=0.75, zorder=1)
    axes.clabel(lines, fontsize=style.TINY, fmt="%g")
    margin = style.heights(landscape, "margin", i).numpy()
    if np.nanmin(margin) < 0 < np.nanmax(margin):
        axes.contour(axis, axis, margin, levels=[0.0], colors=style.BLACK, linewidths=1.4, zorder=1)


def outside_box(landscape: "Landscape", i: int) -> bool:
    """Return whether a part of the plane that is drawn lies outside the box."""
    box, reach = landscape.box[i], float(landscape.axis[-1])
    return len(box) != 4 or not np.allclose(np.sort(box, axis=0), np.sort(reach * SQUARE, axis=0))


def _draw_outside(axes: "Axes", landscape: "Landscape", i: int, reach: float) -> None:
    """Hatch the part of the plane outside the box, where no input lies."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not outside_box(landscape, i):
        return
    box = landscape.box[i]
    rings = [reach * SQUARE, *([box[::-1]] if len(box) > 2 else [])]
    paths = [Path([*ring, ring[0]], closed=True) for ring in rings]
    outside = PathPatch(Path.make_compound_path(*paths), facecolor=(1, 1, 1, 0.6), edgecolor=(0.45, 0.45, 0.45, 0.6))
    outside.set(hatch="////", linewidth=0.0, zorder=2)
    axes.add_patch(outside)
