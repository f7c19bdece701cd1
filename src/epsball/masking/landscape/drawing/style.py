"""How landscapes look: one colour per class, the label's always the same, and one marker per kind of point."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from epsball.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
)
from epsball.figures import SMALL as SMALL

if TYPE_CHECKING:
    from epsball.masking.geometry.surface import FunctionName
    from epsball.masking.landscape.marks import Mark
    from epsball.masking.landscape.result import Landscape, Quantity

_LABEL, _OTHERS, _REST = SKY, (ORANGE, VERMILION, PURPLE, GREEN, YELLOW, BLUE), LIGHT_GREY
"""Colours of the label's class, of the most frequent others, and of all that follow."""

TINY = 7.5
"""Size of ticks and legends, in points."""

AXIS = {"margin": "margin  $z_y - \\max_{j \\neq y} z_j$", "loss": "cross-entropy (nats)"}
FUNCTION: "dict[Quantity, FunctionName]" = {"margin": "margin", "loss": "cross-entropy"}

MARKERS: dict[str, dict[str, Any]] = {
    "x": {"marker": "o", "s": 46, "facecolor": "white", "edgecolor": BLACK},
    "FGSM": {"marker": "^", "s": 62, "facecolor": "white", "edgecolor": BLACK},
    "witness": {"marker": "*", "s": 130, "facecolor": "white", "edgecolor": BLACK},
    "second witness": {"marker": "D", "s": 40, "facecolor": "white", "edgecolor": BLACK},
    "lowest margin found": {"marker": "v", "s": 56, "facecolor": "white", "edgecolor": BLACK},
}
"""Markers of points in the plane; of a point off it the nearest is drawn, grey."""

NAMED = {
    "gradient": "to FGSM's point",
    "witness": "to the witness",
    "second-witness": "to a second witness",
    "random": "in a random direction",
    "curvature": "along the largest curvature",
    "given": "in the given direction",
}
"""What axes call the directions."""

NAMES = {"x": "x", "FGSM": "FGSM's point"}
"""What legends call them, where not by their own name."""


def marker(mark: "Mark", off_plane: float) -> dict[str, Any]:
    """Return how to draw a mark."""
    style = MARKERS[mark.name]
    return {**style, "edgecolor": GREY, "facecolor": "none", "linestyle": ":"} if mark.off > off_plane else style


def class_colours(landscape: "Landscape", i: int) -> dict[int, str]:
    """Return the colour of each class that the example's pictures show, the label first, then by frequency."""
    seen = torch.cat([landscape.predicted[i].flatten(), *(line.predicted for line in landscape.lines[i])])
    classes, counts = seen.unique(return_counts=True)
    label = int(landscape.y[i])
    others = [int(classes[k]) for k in counts.argsort(descending=True, stable=True) if int(classes[k]) != label]
    colours = {label: _LABEL} if label in classes else {}
    return {**colours, **{c: _OTHERS[k] if k < len(_OTHERS) else _REST for k, c in enumerate(others)}}


def rgb(colour: str) -> np.ndarray:
    """Return a colour as three numbers."""
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(colour))


def lightened(colour: str, share: float) -> np.ndarray:
    """Return a colour mixed with a share of white."""
    return (1 - share) * rgb(colour) + share


def painted(predicted: Int64[Tensor, "*shape"], colours: Mapping[int, str], white: float) -> Shaped[np.ndarray, "..."]:
    """Return the colours (*shape, 3) of predicted classes, mixed with a share of white."""
    picture = np.ones((*predicted.shape, 3))
    for number, colour in colours.items():
        picture[(predicted == number).numpy()] = lightened(colour, white)
    return picture


def finer(values: Float64[Tensor, "k k"], size: int) -> Float64[Tensor, "s s"]:
    """Return values of a grid interpolated linearly on a finer one with the same ends."""
    return torch.nn.functional.interpolate(values[None, None], (size, size), mode="bilinear", align_corners=True)[0, 0]


def regions(landscape: "Landscape", i: int, size: int) -> Int64[Tensor, "s s"]:
    """Return the predicted class on a finer grid, its borders straightened between the points.

    Against the label, the border is where the interpolated margin is 0.
    """
    predicted, label = landscape.predicted[i], int(landscape.y[i])
    others = [int(c) for c in predicted.unique() if int(c) != label]
    if not others:
        return torch.full((size, size), label)
    shares = torch.stack([finer((predicted == c).double(), size) for c in others])
    nearest = torch.tensor(others)[shares.argmax(0)]
    own = finer(landscape.margin[i].nan_to_num(nan=-1e30, posinf=1e30, neginf=-1e30), size) > 0
    return torch.where(own & bool((predicted == label).any()), label, nearest)


def heights(landscape: "Landscape", quantity: "Quantity", i: int) -> Float64[Tensor, "k k"]:
    """Return the map of a quantity; what is not finite is NaN, and not drawn."""
    values = landscape.margin[i] if quantity == "margin" else landscape.loss[i]
    return torch.where(values.isfinite(), values, torch.nan)


def line_name(landscape: "Landscape", k: int) -> str:
    """Return the label of a slice's axis."""
    return f"radii, {NAMED[landscape.directions[k]]}"


def axis_name(landscape: "Landscape", k: int) -> str:
    """Return the label of an axis of the plane; the second direction was made orthogonal to the first."""
    across = ", $\\perp\\epsilon_1$" if k == 1 else ""
    return f"$\\epsilon_{k + 1}$ (radii), {NAMED[landscape.directions[k]]}{across}"


def legend_order(names: Sequence[str]) -> list[str]:
    """Return the kinds of marks in the order in which legends name them."""
    return [name for name in MARKERS if name in names]
