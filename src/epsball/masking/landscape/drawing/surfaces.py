"""Surfaces in three dimensions, coloured by the predicted class."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.interpolate import RegularGridInterpolator

from epsball.masking.landscape.drawing import style
from epsball.masking.landscape.marks import IN_PLANE

if TYPE_CHECKING:
    from epsball.masking.landscape.result import Landscape, Quantity

_SIZE = 81
_LIFT = 0.012
_STEEP = 0.6
_DARKEST = 0.55
_BRIGHT = 1.08
_LIGHT = np.array([-0.45, 0.25, 0.86])
"""Where the light comes from, and how much of a colour is left on the dark side."""


def draw_surface(axes: Any, landscape: "Landscape", i: int, quantity: "Quantity") -> None:
    """Draw an example's function over the plane in axes of three dimensions; the outline of N(x) lies on it.

    Outside the box it is pale.
    """
    axis = landscape.axis.numpy()
    f = style.heights(landscape, quantity, i)
    if not bool(f.isfinite().any()):
        axes.set_axis_off()
        return
    fine = np.linspace(axis[0], axis[-1], _SIZE)
    e1, e2 = np.meshgrid(fine, fine)
    colours = style.painted(style.regions(landscape, i, _SIZE), style.class_colours(landscape, i), 0.1)
    outside = ~_within(landscape.box[i], e1, e2)
    colours[outside] = 0.35 * colours[outside] + 0.65
    height = style.finer(f, _SIZE).numpy()
    axes.computed_zorder = False
    style_of = {"linewidth": 0, "antialiased": False, "shade": False, "rasterized": True}
    lit = _lit(colours, height)
    axes.plot_surface(e1, e2, height, facecolors=lit, rstride=1, cstride=1, zorder=1, **style_of)
    _draw_on_surface(axes, landscape, i, f)
    if quantity == "margin" and float(f.nan_to_num(0.0).min()) < 0 < float(f.nan_to_num(0.0).max()):
        axes.contour(axis, axis, f.numpy(), levels=[0.0], colors=style.BLACK, linewidths=1.2, zorder=2)
    axes.set_xlabel("$\\epsilon_1$", fontsize=style.SMALL, labelpad=-6)
    axes.set_ylabel("$\\epsilon_2$", fontsize=style.SMALL, labelpad=-6)
    axes.set_title(style.FUNCTION[quantity], fontsize=style.SMALL, y=0.97)
    axes.tick_params(labelsize=6.5, pad=-2)
    axes.view_init(elev=32, azim=-62)
    axes.set_box_aspect((1, 1, 0.75), zoom=1.02)


def _lit(colours: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Return the colours with light from the upper left: slopes show, and no side turns black."""
    spread = np.nanmax(height) - np.nanmin(height)
    down, across = np.gradient(np.nan_to_num(height) / (spread or 1.0) * (_SIZE - 1) * _STEEP)
    normal = np.stack([-across, -down, np.ones_like(height)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.clip(colours * (_DARKEST + (1 - _DARKEST) * np.clip(normal @ _LIGHT, 0, 1))[..., None] * _BRIGHT, 0, 1)


def _draw_on_surface(axes: Any, landscape: "Landscape", i: int, f: torch.Tensor) -> None:
    """Draw the outline of N(x) and the marks a little above the surface."""
    axis, values = landscape.axis.numpy(), f.numpy()
    surface = RegularGridInterpolator((axis, axis), values, bounds_error=False, fill_value=np.nan)
    lift = _LIFT * (np.nanmax(values) - np.nanmin(values))

    def draped(points: np.ndarray) -> np.ndarray:
        return surface(points[:, ::-1]) + lift

    outline = landscape.outline[i]
    if len(outline) > 1:
        closed = np.concatenate([outline, outline[:1]])
        share = np.linspace(0.0, 1.0, 60)[:, None]
        way = np.concatenate([a + share * (b - a) for a, b in pairwise(closed)])
        axes.plot(*way.T, draped(way), color=style.BLACK, linewidth=1.6, zorder=3)
    x = np.zeros((1, 2))
    axes.scatter(*x.T, draped(x), depthshade=False, zorder=5, **style.MARKERS["x"])
    for mark in landscape.marks[i]:
        at = np.array([[mark.e1, mark.e2]])
        if np.abs(at).max() <= axis[-1]:
            axes.scatter(*at.T, draped(at), depthshade=False, zorder=5, **style.marker(mark, IN_PLANE))


def _within(box: np.ndarray, e1: np.ndarray, e2: np.ndarray) -> np.ndarray:
    """Return which points lie in a convex polygon, counter-clockwise."""
    inside = np.full(e1.shape, len(box) > 2)
    for a, b in zip(box, np.roll(box, -1, axis=0), strict=True):
        inside &= (b[0] - a[0]) * (e2 - a[1]) - (b[1] - a[1]) * (e1 - a[0]) >= -1e-9
    return inside
