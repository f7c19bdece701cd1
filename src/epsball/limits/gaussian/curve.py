"""The optimal adversarial risk of the univariate model over a range of radii."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from epsball.limits.gaussian.figure import gaussian_figure
from epsball.limits.gaussian.univariate import Optimum, UnivariateGaussian
from epsball.results import Result, arrow_table, jsonable, text_table

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, repr=False)
class GaussianCurve(Result):
    """An optimal rule and L*(eps) for each radius, beside the risk of the midpoint threshold.

    Where priors and variances are equal, the midpoint's risk is Phi((eps - (mu_1 - mu_0)/2) / sigma),
    often printed as the optimum: it is one only for eps up to half the gap.
    """

    model: UnivariateGaussian
    radii: tuple[float, ...]
    optima: tuple[Optimum, ...]

    @property
    def optimal(self) -> Float[np.ndarray, " radii"]:
        """L* at each radius."""
        return np.array([optimum.risk for optimum in self.optima])

    @property
    def midpoint(self) -> Float[np.ndarray, " radii"]:
        """The adversarial risk of h_t, t = (mu_0 + mu_1)/2, at each radius."""
        t = np.array([sum(self.model.means) / 2.0])
        return np.concatenate([self.model.threshold_risk(t, radius) for radius in self.radii])

    def __str__(self) -> str:
        header = ["radius", "optimal risk", "midpoint's risk", "optimal rule"]
        rules = [str(optimum.rule) for optimum in self.optima]
        columns = zip(self.radii, self.optimal.tolist(), self.midpoint.tolist(), rules, strict=True)
        return text_table(header, list(columns))

    def to_json(self) -> dict[str, Any]:
        """Return the curve made of JSON's types."""
        return jsonable(self) | {"midpoint": jsonable(self.midpoint)}

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row a radius: L*, the midpoint's risk and the optimal rule."""
        rules = [optimum.rule for optimum in self.optima]
        return arrow_table(
            {
                "radius": list(self.radii),
                "optimal_risk": self.optimal,
                "midpoint_risk": self.midpoint,
                "rule.low": [rule.low for rule in rules],
                "rule.high": [rule.high for rule in rules],
                "rule.inside": [rule.inside for rule in rules],
            }
        )

    def plot(self, radius: float) -> "Figure":
        """Return the picture of the model, its densities and rules drawn at `radius`."""
        return gaussian_figure(self.model, self.radii, self.optimal, self.midpoint, radius)


def gaussian_curve(model: UnivariateGaussian, radii: Sequence[float]) -> GaussianCurve:
    """Return L* and an optimal rule of `model` at each radius."""
    return GaussianCurve(model=model, radii=tuple(radii), optima=tuple(model.optimum(r) for r in radii))
