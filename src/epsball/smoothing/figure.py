"""The figure of a smoothed classifier: certified accuracy over the radius."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from epsball.figures import BLUE, SMALL, new_figure, radius_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def smoothing_figure(
    reached: Float64[np.ndarray, " n"],
    radii: Float64[np.ndarray, " k"],
    accuracy: Float64[np.ndarray, " k"],
    *,
    norm: str,
    title: str,
) -> "Figure":
    """Return the certified accuracy at the radii asked about, as points.

    Sampling stops where those are decided, so that what is certified between them is a lower bound only: the thin
    line of what the radii reached prove.

    Parameters
    ----------
    reached
        (n,) radius per example, 0 where the class is wrong or abstains.
    radii, accuracy
        (k,) the radii asked about, and the certified accuracy there.
    norm, title
        For the axis, and what stands above it.
    """
    figure = new_figure(5.6, 3.8)
    axes = figure.subplots()
    grid = np.linspace(0.0, max(float(radii.max()), float(reached.max(initial=0.0))) * 1.05 or 1.0, 400)
    share = (reached[None, :] > grid[:, None]).mean(axis=1)
    axes.plot(grid, share, color=BLUE, linewidth=1.0, label="proved by the samples drawn")
    axes.plot(radii, accuracy, "o", color=BLUE, label="radii asked about")
    axes.set_xlabel(radius_label(norm))
    axes.set_ylabel("certified accuracy (smoothed)")
    axes.set_ylim(0.0, 1.02)
    axes.set_title(f"probabilistic: {title}", fontsize=SMALL)
    axes.legend(frameon=False, fontsize=SMALL)
    return figure
