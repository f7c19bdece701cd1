"""The result of `landscape`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball import results
from epsball.ball import Ball
from epsball.masking.geometry.surface import FunctionName
from epsball.masking.landscape.lines import Line
from epsball.masking.landscape.marks import Mark
from epsball.masking.landscape.numbers import Numbers
from epsball.masking.landscape.outline import Polygon

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure

Quantity = Literal["margin", "loss"]

QUANTITIES = ("margin", "loss", "predicted")

MOST_DRAWN = 8
"""Examples that a figure shows, at most, where it is not told which."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Landscape(results.Result):
    """Margin, cross-entropy and class in a plane through each example.

    Parameters
    ----------
    axis
        Coordinates along v1 and v2, in radii (k,).
    margin, loss, predicted
        z_y - max_{j != y} z_j, the cross-entropy of the label and the predicted class at
        x + axis[b] v1 + axis[a] v2 (n, k, k), entry [i, a, b].
    numbers
        For ``"margin"`` and ``"cross-entropy"``: gradient norm, eq. (3) against the true change, local linearity,
        curvature, agreement of neighbours' gradients.
    lines
        Slices along both directions, one pair per example.
    marks
        FGSM's point and the witnesses of each example.
    outline, box
        The part of the plane in N(x), and in the box as far as the axes reach: corners (m, 2), per example.
    directions
        Names of the two directions.
    x, v1, v2, y, ball
        Examples, displacements as long as the radius, labels and the perturbation set.
    notes
        What a reader has to know about single examples.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.6, 0.3, 0.2]]), torch.tensor([0])
    >>> result = eb.landscape(classifier, x, y, eb.Ball("linf", 0.1), points=5)
    >>> [(mark.name, round(mark.e1, 3), round(mark.margin, 3)) for mark in result.marks[0]]
    [('FGSM', 1.0, 0.1), ('lowest margin found', 1.0, 0.1)]
    """

    axis: Float64[Tensor, " k"]
    margin: Float64[Tensor, "n k k"]
    loss: Float64[Tensor, "n k k"]
    predicted: Int64[Tensor, "n k k"]
    numbers: dict[FunctionName, Numbers]
    lines: Sequence[tuple[Line, Line]]
    marks: Sequence[Sequence[Mark]]
    outline: Sequence[Polygon]
    box: Sequence[Polygon]
    directions: tuple[str, str]
    x: Float[Tensor, "n *shape"]
    v1: Float[Tensor, "n *shape"]
    v2: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    ball: Ball
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    def __str__(self) -> str:
        header = ("example", "label", "function", "f(x)", "radius*norm", "to FGSM", "1st", "2nd", "gamma", "curvature")
        header = (*header, "bend", "cosine")
        rows = [
            (i, int(self.y[i]), name, *_row(found, i)) for i in range(len(self)) for name, found in self.numbers.items()
        ]
        where = [
            f"example {i}: {mark.name} at ({mark.e1:.3f}, {mark.e2:.3f}), {100 * mark.off:.1f}% off the plane, "
            f"margin {mark.margin:.4g}, class {mark.predicted}"
            for i, marks in enumerate(self.marks)
            for mark in marks
        ]
        return "\n".join([results.text_table(header, rows), *where, *self.notes])

    def to_arrow(self) -> "pyarrow.Table":
        """Return the numbers, one row per example; `points` returns the maps."""
        columns: dict[str, object] = {"example": torch.arange(len(self)), "label": self.y}
        for name, found in self.numbers.items():
            columns |= {f"{name}.{key}": values for key, values in found.columns().items()}
        for name in dict.fromkeys(mark.name for marks in self.marks for mark in marks):
            chosen = [next((m for m in marks if m.name == name), None) for marks in self.marks]
            for field in ("e1", "e2", "off", "margin"):
                column = [torch.nan if m is None else getattr(m, field) for m in chosen]
                columns[f"{name.replace(' ', '-')}.{field}"] = torch.tensor(column, dtype=torch.float64)
        return results.arrow_table(columns)

    def points(self) -> "pyarrow.Table":
        """Return the maps as a table, one row per point: example, e1, e2, margin, loss and predicted class."""
        n, k = len(self), len(self.axis)
        columns = {
            "example": torch.arange(n).repeat_interleave(k * k),
            "e1": self.axis.repeat(n * k),
            "e2": self.axis.repeat_interleave(k).repeat(n),
            **{name: getattr(self, name).flatten() for name in QUANTITIES},
        }
        return results.arrow_table(columns)

    def to_json(self) -> dict[str, object]:
        """Return everything but examples, displacements and maps as JSON's types."""
        return results.jsonable(
            {
                "ball": str(self.ball),
                "directions": self.directions,
                "label": self.y,
                "reach": float(self.axis[-1]),
                "points": len(self.axis),
                "numbers": {name: found.columns() for name, found in self.numbers.items()},
                "marks": self.marks,
                "outline": list(self.outline),
                "lines": self.lines,
                "notes": self.notes,
            }
        )

    def plot(self, quantity: Quantity = "margin", examples: Sequence[int] | None = None) -> "Figure":
        """Draw slices, map and surface, one row per example (the first eight, if it is not said which)."""
        from epsball.masking.landscape.drawing.overview import overview

        return overview({"": self}, quantity, range(min(MOST_DRAWN, len(self))) if examples is None else examples)

    def to_html(self, title: str = "Landscape") -> str:
        """Return one page without network: figures of margin and cross-entropy, numbers and notes."""
        from epsball.masking.landscape.drawing.page import page

        return page({"": self}, title)


def _row(found: Numbers, i: int) -> tuple[float, ...]:
    names = ("value", "gradient_norm", "change", "first", "second", "gamma", "curvature", "bend", "cosine")
    return tuple(float(getattr(found, name)[i]) for name in names)
