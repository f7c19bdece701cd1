"""Accuracy against radius, from the distances of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float64
from torch import Tensor

from epsball import figures, results
from epsball.statistics import clopper_pearson

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AccuracyCurve(results.Result):
    """Accuracy under attack as a function of the radius: 1 at most, falling at each distance.

    Parameters
    ----------
    distance
        Distances of the nearest adversarial points, sorted; infinite where none was found, 0 where
        the example is misclassified.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> curve = eb.attacks.AccuracyCurve.of(torch.tensor([0.1, 0.3, torch.nan, 0.2], dtype=torch.float64))
    >>> curve.at(0.2), curve.median
    (0.5, 0.2)
    """

    distance: Float64[Tensor, " n"]

    @classmethod
    def of(cls, distance: Float64[Tensor, " n"]) -> "AccuracyCurve":
        """Return the curve of distances in any order, NaN where there is none."""
        return cls(distance=torch.where(distance.isnan(), torch.inf, distance).cpu().sort().values)

    def at(self, radius: float) -> float:
        """Return the share of examples without an adversarial point found up to this radius."""
        return 1.0 - int((self.distance <= radius).sum()) / len(self.distance)

    @property
    def median(self) -> float:
        """The least radius at which at most half of the examples are unbroken; infinite if there is none."""
        return float(self.distance[(len(self.distance) - 1) // 2])

    def steps(self, widest: float) -> tuple[list[float], list[float]]:
        """Return the radii from 0 to `widest` at which accuracy falls, and the accuracy from each on."""
        inside = self.distance[(self.distance > 0) & (self.distance < widest)].unique().tolist()
        radii = [0.0, *inside, widest]
        return radii, [self.at(radius) for radius in radii]

    def to_arrow(self) -> "pyarrow.Table":
        """Return the radii at which accuracy falls, and the accuracy from there on."""
        radius = self.distance[self.distance.isfinite()].unique()
        return results.arrow_table({"radius": radius, "accuracy": [self.at(float(r)) for r in radius]})

    def to_json(self) -> dict[str, object]:
        """Return the distances as JSON's types, null where none was found."""
        return results.jsonable({"distance": self.distance})

    def __str__(self) -> str:
        shares = (0.75, 0.5, 0.25)
        quantiles = [
            float(self.distance[min(len(self.distance) - 1, int((1 - s) * len(self.distance)))]) for s in shares
        ]
        rows = [("radius", *quantiles)]
        return results.text_table(("accuracy falls to", *(f"{share:.2f}" for share in shares)), rows)

    def plot(self) -> "Figure":
        """Draw the curve."""
        return plot_curves({"accuracy under attack": self}, "radius ε (in the norm of the ball)")


def plot_curves(curves: Mapping[str, AccuracyCurve], unit: str, *, nearest: bool = False) -> "Figure":
    """Draw the curves of several attacks on one axis; the lowest at each radius is the tightest bound.

    The curves begin at radius 0, with natural accuracy. Where curves coincide, the wider, earlier one shows under the
    narrower. Around the last one lies its exact 95% interval, at each radius on its own.

    Parameters
    ----------
    curves
        The curves by name.
    unit
        The label of the axis of radii.
    nearest
        Whether the last curve is of the nearest points of all attacks: it is drawn in black.
    """
    figure = figures.new_figure(7.2 if len(curves) > 1 else 6.0, 4.2)
    axes = figure.subplots()
    finite = torch.cat([curve.distance[curve.distance.isfinite()] for curve in curves.values()])
    widest = 1.05 * float(finite.quantile(0.95)) if len(finite) and float(finite.max()) > 0 else 1.0
    for number, (name, curve) in enumerate(curves.items()):
        radius, accuracy = curve.steps(widest)
        width = 1.4 + 2.6 * (1 - (number + 1) / len(curves))
        last = number == len(curves) - 1
        black: dict[str, Any] = {"color": figures.BLACK, "linestyle": "-"}
        style = black if nearest and last else figures.line_style(number)
        axes.step(radius, accuracy, where="post", label=name, linewidth=width, **style)
        if last:
            n = len(curve.distance)
            intervals = [clopper_pearson(round(share * n), n) for share in accuracy]
            ends = ([interval.low for interval in intervals], [interval.high for interval in intervals])
            band = {"color": style["color"], "alpha": 0.15, "linewidth": 0.0, "label": f"95% interval of '{name}'"}
            axes.fill_between(radius, *ends, step="post", **band)
    n = max(len(curve.distance) for curve in curves.values())
    axes.set(xlabel=unit, ylabel=f"accuracy under attack ({n} examples)", xlim=(0, widest), ylim=(0, 1.02))
    if not len(finite):
        axes.text(0.5, 0.5, "no adversarial point was found", ha="center", transform=axes.transAxes)
    place = "outside right upper" if len(curves) > 1 else "outside lower center"
    figure.legend(loc=place, frameon=False, fontsize=figures.SMALL, ncols=2 if len(curves) == 1 else 1)
    return figure
