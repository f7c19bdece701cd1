"""Figures of the limit: overlapping balls and hard pairs; those over the radius are in `curve_figure.py`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.ball import Ball, NormName
from epsball.errors import InputError
from epsball.figures import BLACK, BLUE, VERMILION, new_figure
from epsball.limits.conflicts.sample import ORDER
from epsball.limits.curve_figure import risk_figure as risk_figure
from epsball.limits.optimal_classifier import Optimum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = (BLUE, VERMILION)


def overlap_figure(norm: NormName = "l2", separations: Sequence[float] = (2.6, 1.4)) -> "Figure":
    """Return two balls in the plane, around points of different class, at each separation.

    Up to a distance of two radii the closed balls share a point; whichever class it gets, one of the
    two points is lost.

    Parameters
    ----------
    norm
        ``"l2"`` (discs), ``"linf"`` (squares) or ``"l1"`` (diamonds).
    separations
        Horizontal distances in units of the radius, one panel each.
    """
    if norm not in ORDER:
        raise InputError(f"norm is '{norm}'; the overlap is drawn for 'l2', 'linf' or 'l1'.")
    angle = np.linspace(0.0, 2.0 * np.pi, 401)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outline = circle / np.linalg.norm(circle, ord=ORDER[norm], axis=1, keepdims=True)
    widths = [separation + 2.2 for separation in separations]
    figure = new_figure(0.9 * sum(widths), 2.7)
    panels = figure.subplots(1, len(separations), squeeze=False, width_ratios=widths)[0]
    for axes, separation in zip(panels, separations, strict=True):
        _draw_balls(axes, outline, separation)
    return figure


def _draw_balls(axes: "Axes", outline: Float[np.ndarray, "k 2"], separation: float) -> None:
    """Draw two unit balls whose centres lie `separation` apart, and what they share."""
    from matplotlib.patches import Polygon

    balls = []
    for side, colour, name in zip((-1, 1), CLASSES, ("x, class 0", "x′, class 1"), strict=True):
        centre = (side * separation / 2.0, 0.0)
        ball = Polygon(outline + np.array(centre), facecolor=(colour, 0.2), edgecolor=colour, linewidth=1.5)
        balls.append(axes.add_patch(ball))
        axes.plot(*centre, "o", color=colour, markersize=5)
        axes.annotate(name, centre, (side * 12, 8), textcoords="offset points", ha="center", color=colour)
    meet = separation <= 2.0
    if meet:
        common = Polygon(balls[0].get_xy(), fill=False, edgecolor=BLACK, hatch="////", linewidth=0.0)
        axes.add_patch(common)
        common.set_clip_path(balls[1])
    verdict = "they meet: one point is lost, risk ½" if meet else "disjoint: both can be kept, risk 0"
    axes.set_title(f"d(x, x′) = {separation:g}ε {'≤' if meet else '>'} 2ε\n{verdict}", fontsize=10)
    axes.set(xlim=(-separation / 2 - 1.1, separation / 2 + 1.1), ylim=(-1.15, 1.15), aspect="equal")
    axes.set_axis_off()


def pairs_figure(
    x: Float[Tensor, "n c h w"],
    midpoint: Float[Tensor, "n c h w"],
    x_prime: Float[Tensor, "n c h w"],
    titles: Sequence[tuple[str, str, str]],
) -> "Figure":
    """Return hard pairs as images: x, a point that lies in both balls, and x', one row per pair.

    Parameters
    ----------
    x, midpoint, x_prime
        Images in [0, 1], of one channel or three.
    titles
        The titles of the three images of each row.
    """
    channels = x.shape[1]
    if channels not in (1, 3):
        raise InputError(f"images have {channels} channels; pairs are drawn for 1 (grey) or 3 (colour).")
    figure = new_figure(5.4, 1.95 * len(x))
    grid = figure.subplots(len(x), 3, squeeze=False)
    for row, images, texts in zip(grid, zip(x, midpoint, x_prime, strict=True), titles, strict=True):
        for axes, image, text in zip(row, images, texts, strict=True):
            pixels = image.detach().cpu().permute(1, 2, 0).squeeze(2 if channels == 1 else ()).numpy()
            axes.imshow(pixels, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
            axes.set_title(text, fontsize=9)
            axes.set_axis_off()
    return figure


def hard_pairs(
    x: Float[Tensor, "n c h w"], y: Int64[Tensor, " n"], norm: NormName, optimum: Optimum, count: int = 6
) -> "Figure":
    """Return pairs of the optimal coupling as images, each with the midpoint that both balls hold.

    Parameters
    ----------
    x, y
        Images in [0, 1] and labels, in the order given to `optimal_risk`.
    norm
        Norm of the balls.
    optimum
        The optimum at one radius.
    count
        Number of pairs, at most; the nearest are drawn.

    Raises
    ------
    InputError
        If no two examples conflict, or the data are not images.
    """
    if x.ndim != 4:
        raise InputError(f"the data have shape {tuple(x.shape)}; pairs are drawn for images, (n, c, h, w).")
    if not len(optimum.coupling):
        raise InputError(f"no two examples conflict at radius {float(optimum.radius):g}; take a larger one.")
    # The double cover may couple a pair in both directions.
    first, second = torch.from_numpy(np.unique(np.sort(optimum.coupling, axis=1), axis=0)).T
    ball = Ball(norm, optimum.radius, None, None)
    distance = torch.cat([ball.distance(x[a], x[b]) for a, b in zip(first.split(256), second.split(256), strict=True)])
    nearest = torch.argsort(distance, stable=True)[:count]
    a, b = first[nearest], second[nearest]
    titles = [
        (f"label {y[i]}, example {i}", f"midpoint, {half:.4g} from both", f"label {y[j]}, example {j}")
        for i, j, half in zip(a.tolist(), b.tolist(), (distance[nearest] / 2).tolist(), strict=True)
    ]
    return pairs_figure(x[a], (x[a] + x[b]) / 2, x[b], titles)
