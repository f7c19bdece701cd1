"""The figure of witnesses: the example, the witness, and their signed difference with its scale."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.figures import BLUE, DIVERGING, GREY, SMALL, new_figure, nothing_drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 6


def witness_figure(
    classifier: Classifier,
    x: Float[Tensor, "n *shape"],
    y: Int64[Tensor, " n"],
    x_adv: Float[Tensor, "n *shape"],
    index: Int64[Tensor, " n"],
    class_names: Sequence[str] | None = None,
    ball: Ball | None = None,
) -> "Figure":
    """Draw up to six examples in columns: clean, witness, and the signed difference.

    The difference has one scale for all, drawn beside it: of images with one channel blue is darker and red is lighter
    than the example; of colour images each channel is drawn about grey. Inputs that are not images are drawn as
    curves over their coordinates.

    Parameters
    ----------
    classifier
        Says what the witnesses are classified as.
    x, y, x_adv, index
        Examples, labels, witnesses, and the positions written above them.
    class_names
        Names to write instead of class numbers.
    ball
        The perturbation set, for the title and the distances of the witnesses.

    Examples
    --------
    >>> import torch
    >>> import epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)))
    >>> x, y, index = torch.zeros(1, 1, 4, 4), torch.tensor([0]), torch.tensor([7])
    >>> figure = eb.auditing.witness_figure(classifier, x, y, x + 0.1, index)
    >>> figure.axes[0].get_title()
    '#7: 0'
    """
    if len(x) == 0:
        return nothing_drawn("no broken example")
    x, y, x_adv, index = (tensor[:SHOWN].cpu() for tensor in (x, y, x_adv, index))
    wrong = classifier.logits(x_adv).argmax(1).tolist()
    difference = x_adv.double() - x.double()
    largest = float(difference.abs().max()) or 1.0
    figure = new_figure(1.6 * len(x) + 1.5, 5.8)
    figure.suptitle("Verified witnesses" if ball is None else f"Verified witnesses in {ball}", fontsize="medium")
    axes = figure.subplots(3, len(x), squeeze=False)
    low, high = _range(classifier, x, x_adv)

    def named(label: int) -> str:
        return str(label) if class_names is None else class_names[label]

    for column in range(len(x)):
        _draw(axes[0][column], x[column], low, high)
        _draw(axes[1][column], x_adv[column], low, high)
        _draw(axes[2][column], difference[column], -largest, largest, signed=True)
        axes[0][column].set_title(f"#{int(index[column])}: {named(int(y[column]))}", fontsize=SMALL)
        axes[1][column].set_title(f"classified {named(wrong[column])}", fontsize=SMALL)
        if ball is not None:
            distance = float(ball.distance(x[column : column + 1], x_adv[column : column + 1]))
            axes[2][column].set_title(f"{ball.norm} distance {distance:.3g}", fontsize=SMALL)
    for row, name in zip(axes, ("example", "witness", "witness − example"), strict=True):
        row[0].set_ylabel(name, fontsize="small")
    for row, ends in zip(axes, ((low, high), (low, high), (-largest, largest)), strict=True):
        _draw_scale(row, *ends)
    return figure


def _range(classifier: Classifier, x: Tensor, x_adv: Tensor) -> tuple[float, float]:
    if classifier.low is not None and classifier.high is not None:
        return classifier.low, classifier.high
    return float(torch.minimum(x, x_adv).min()), float(torch.maximum(x, x_adv).max())


def _draw(axes: "Axes", values: Tensor, low: float, high: float, *, signed: bool = False) -> None:
    """Draw one input: an image for shapes (h, w), (1, h, w) and (3, h, w), a curve otherwise."""
    axes.set(xticks=[], yticks=[])
    image = values[0] if values.ndim == 3 and values.shape[0] == 1 else values
    if image.ndim == 2:
        colours = DIVERGING if signed else "gray"
        axes.imshow(image.numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    elif image.ndim == 3 and image.shape[0] == 3:
        scaled = ((image - low) / (high - low)).clamp(0, 1)
        axes.imshow(scaled.permute(1, 2, 0).numpy(), interpolation="nearest")
    else:
        if signed:
            axes.axhline(0.0, color=GREY, linewidth=0.6)
        axes.plot(values.flatten().numpy(), linewidth=0.9, color=BLUE)
        room = 0.04 * (high - low)
        axes.set_ylim(low - room, high + room)


def _draw_scale(row: "Sequence[Axes]", low: float, high: float) -> None:
    """Say what the values of a row are: by a colour bar beside images, by the axis of curves."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    last = row[-1]
    ticks = [low, (low + high) / 2, high]
    texts = [f"{tick:.3g}" if low >= 0 else f"{tick:+.3g}" if tick else "0" for tick in ticks]
    if not last.images:
        row[0].set_yticks(ticks, texts, fontsize="x-small")
        return
    coloured = last.images[0].get_array().ndim == 3  # pyright: ignore[reportOptionalMemberAccess]
    colours = "gray" if coloured or low >= 0 else DIVERGING
    place = last.inset_axes((1.06, 0.0, 0.09, 1.0))
    bar = last.figure.colorbar(ScalarMappable(Normalize(low, high), colours), cax=place)
    bar.set_ticks(ticks, labels=texts, fontsize="x-small")
    if coloured:
        bar.set_label("each channel", fontsize="x-small")
