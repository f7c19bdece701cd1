"""Similarity matrices as heatmaps, in the style of the chapter's Figure 17.2."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from epsball.errors import InputError
from epsball.figures import SEQUENTIAL, SMALL, new_figure
from epsball.similarity.structure import LayerMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_LABEL_INCHES = 0.13
_LEAST_INCHES = 3.0
_MOST_INCHES = 12.0
_LETTERS = 16.0
"""Letters of an axis's name per inch."""


def heatmaps(
    panels: Mapping[str, LayerMatrix], columns: int = 2, names: Mapping[str, tuple[str, str]] | None = None
) -> "Figure":
    """Draw similarity matrices side by side on one colour scale.

    The first network's layers run upwards, the second's to the right, both in execution order.
    The scale runs from 0 to 1; undefined entries are hatched. Panels grow with the number of layers
    up to 12 inches, so that every name can be read; beyond that every second (third, ...) is named.

    Parameters
    ----------
    panels
        Title and matrix of each panel.
    columns
        Panels in a row.
    names
        Names of the first and the second network of a panel by its title, for the axes.

    Raises
    ------
    InputError
        If `panels` is empty.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> figure = heatmaps({"identity": eb.cka(nn.Identity(), nn.Flatten(), x)})
    >>> figure.axes[0].get_title()
    'identity'
    """
    if not panels:
        raise InputError("panels is empty; give at least one title with its similarity.")
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    side_x = _side(max(len(s.layers_b) for s in panels.values()))
    side_y = _side(max(len(s.layers_a) for s in panels.values()))
    margin = 0.065 * max(len(name) for s in panels.values() for name in (*s.layers_a, *s.layers_b)) + 0.5
    figure = new_figure(columns * (side_x + margin + 0.3) + 0.8, rows * (side_y + margin + 0.5))
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    plain = ("the first network", "the second network")
    images = [
        _panel(ax, title, s, (names or {}).get(title, plain))
        for ax, (title, s) in zip(axes, panels.items(), strict=False)
    ]
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    undefined = any(bool(s.matrix.isnan().any()) for s in panels.values())
    below = any(np.nanmin(s.matrix.numpy(), initial=0.0) < 0 for s in panels.values())
    figure.colorbar(
        images[0],
        ax=list(axes),
        label="CKA (hatched: undefined)" if undefined else "CKA",
        shrink=0.6,
        extend="min" if below else "neither",
    )
    return figure


def _side(layers: int) -> float:
    return min(_MOST_INCHES, max(_LEAST_INCHES, _LABEL_INCHES * layers))


def _panel(ax: "Axes", title: str, similarity: LayerMatrix, names: tuple[str, str]) -> "AxesImage":
    matrix = np.ma.masked_invalid(similarity.matrix.numpy())
    ax.set_facecolor("0.85")
    if matrix.mask.any():
        ax.fill_between([-0.5, matrix.shape[1] - 0.5], -0.5, matrix.shape[0] - 0.5, hatch="////", fc="0.85", ec="0.6")
    image = ax.imshow(
        matrix, origin="lower", vmin=0.0, vmax=1.0, cmap=SEQUENTIAL, interpolation="nearest", aspect="auto"
    )
    _name(ax, similarity.layers_b, "x")
    _name(ax, similarity.layers_a, "y")
    for axis, name, layers in ((ax.xaxis, names[1], similarity.layers_b), (ax.yaxis, names[0], similarity.layers_a)):
        room = int(_LETTERS * _side(len(layers)))
        axis.set_label_text(textwrap.fill(f"layers of {name}, input to output", room), fontsize=SMALL)
    ax.set_title(title, fontsize=SMALL)
    return image


def _name(ax: "Axes", names: Sequence[str], axis: Literal["x", "y"]) -> None:
    step = math.ceil(len(names) * _LABEL_INCHES / _MOST_INCHES)
    ticks = range(0, len(names), step)
    labels = [names[i] for i in ticks]
    if axis == "x":
        ax.set_xticks(ticks, labels, rotation=90, fontsize=7)
    else:
        ax.set_yticks(ticks, labels, fontsize=7)
    ax.tick_params(axis=axis, length=2, pad=1)
