"""The figure of witnesses: the example, the witness, and their difference magnified."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball import results
from epsball.classifier import Classifier

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
) -> "Figure":
    """Draw up to six examples in columns: clean, witness, and the difference about grey.

    The difference is magnified by one factor for all, stated in the figure. Inputs that are
    not images are drawn as curves over their coordinates.

    Parameters
    ----------
    classifier
        Says what the witnesses are classified as.
    x, y, x_adv, index
        Examples, labels, witnesses, and the positions written above them.
    class_names
        Names to write instead of class numbers.

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
        return _empty()
    x, y, x_adv, index = (tensor[:SHOWN].cpu() for tensor in (x, y, x_adv, index))
    wrong = classifier.logits(x_adv).argmax(1).tolist()
    difference = x_adv.double() - x.double()
    largest = float(difference.abs().max()) or 1.0
    figure = results.new_figure(1.6 * len(x) + 0.9, 5.4)
    axes = figure.subplots(3, len(x), squeeze=False)
    low, high = _range(classifier, x, x_adv)

    def named(label: int) -> str:
        return str(label) if class_names is None else class_names[label]

    for column in range(len(x)):
        _draw(axes[0][column], x[column], low, high)
        _draw(axes[1][column], x_adv[column], low, high)
        _draw(axes[2][column], difference[column], -largest, largest)
        axes[0][column].set_title(f"#{int(index[column])}: {named(int(y[column]))}", fontsize=9)
        axes[1][column].set_title(f"classified {named(wrong[column])}", fontsize=9)
    names = ("example", "witness", f"difference,\n{(high - low) / (2 * largest):.3g} times")
    for row, name in zip(axes, names, strict=True):
        row[0].set_ylabel(name, fontsize=9)
    return figure


def _empty() -> "Figure":
    figure = results.new_figure(4.0, 1.0)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no broken example", ha="center", va="center")
    return figure


def _range(classifier: Classifier, x: Tensor, x_adv: Tensor) -> tuple[float, float]:
    if classifier.low is not None and classifier.high is not None:
        return classifier.low, classifier.high
    return float(torch.minimum(x, x_adv).min()), float(torch.maximum(x, x_adv).max())


def _draw(axes: "Axes", values: Tensor, low: float, high: float) -> None:
    """Draw one input: an image for shapes (h, w), (1, h, w) and (3, h, w), a curve otherwise."""
    axes.set(xticks=[], yticks=[])
    image = values[0] if values.ndim == 3 and values.shape[0] == 1 else values
    if image.ndim == 2:
        axes.imshow(image.numpy(), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    elif image.ndim == 3 and image.shape[0] == 3:
        scaled = ((image - low) / (high - low)).clamp(0, 1)
        axes.imshow(scaled.permute(1, 2, 0).numpy(), interpolation="nearest")
    else:
        axes.plot(values.flatten().numpy(), linewidth=0.8)
        axes.set_ylim(low, high)
