"""The optimal adversarial risk of the univariate model over a range of radii, and its figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from epsball.figures import BLACK, GREY, PURPLE, SMALL, VERMILION, new_figure
from epsball.limits.figures import CLASSES
from epsball.limits.gaussian.univariate import IntervalRule, Optimum, UnivariateGaussian
from epsball.results import Result, arrow_table, jsonable, text_table

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, repr=False)
class GaussianCurve(Result):
    """An optimal rule and L*(eps) for each radius, with the risk of the threshold at the midpoint.

    Where priors and variances are equal, the midpoint's risk is Phi((eps - (mu_1 - mu_0)/2) / sigma),
    often printed as the optimum: it is the optimum only for eps up to half the gap of the means.

    Examples
    --------
    >>> gaussian_curve(UnivariateGaussian(means=(0.0, 2.0)), [1.5]).optimal.tolist()
    [0.5]
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
        """Return one row per radius: L*, the midpoint's risk and the optimal rule."""
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
        """Return a figure of three panels: what the optimal rules lose, the risk of every threshold, and L*.

        Parameters
        ----------
        radius
            The radius of the adversary in the first two panels.
        """
        model = self.model
        figure = new_figure(9.6, 4.6)
        densities, thresholds, optimum = figure.subplots(1, 3)
        reach = 3.5 * np.sqrt(model.variances)
        x = np.linspace(np.min(model.means - reach), np.max(model.means + reach), 1201)
        _draw_densities(densities, model, x, radius)
        _draw_thresholds(thresholds, model, x, radius)
        optimum.plot(self.radii, self.midpoint, "--", color=VERMILION, label="threshold at the midpoint")
        optimum.plot(self.radii, self.optimal, color=BLACK, linewidth=2.0, label="optimum L*(ε)")
        optimum.axvline(radius, color=GREY, linewidth=0.8, linestyle=":")
        optimum.set(xlabel="radius ε", ylabel="adversarial risk", ylim=(0.0, 1.0))
        optimum.set_title("Optimal risk\nover the radius", fontsize=10)
        for axes in (densities, thresholds, optimum):
            axes.legend(frameon=False, fontsize=SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.16))
        return figure


def gaussian_curve(model: UnivariateGaussian, radii: Sequence[float]) -> GaussianCurve:
    """Return L* and an optimal rule of `model` at each radius.

    Examples
    --------
    >>> print(gaussian_curve(UnivariateGaussian(means=(0.0, 2.0)), [0.0, 1.5]))
    radius  optimal risk  midpoint's risk  optimal rule
    ------  ------------  ---------------  ----------------------
    0.0000        0.1587           0.1587  class 1 on (1, inf)
    1.5000        0.5000           0.6915  class 1 on (-inf, inf)
    """
    return GaussianCurve(model=model, radii=tuple(radii), optima=tuple(model.optimum(r) for r in radii))


def _draw_densities(axes: "Axes", model: UnivariateGaussian, x: Float[np.ndarray, " n"], radius: float) -> None:
    """Draw pi_k f_k, what the benign and the robust optimum lose of it, and their boundaries."""
    benign, robust = model.optimum(0.0), model.optimum(radius)
    for k, colour in enumerate(CLASSES):
        density = np.exp(-((x - model.means[k]) ** 2) / (2.0 * model.variances[k]))
        density *= model.priors[k] / np.sqrt(2.0 * np.pi * model.variances[k])
        axes.plot(x, density, color=colour, label=f"class {k}")
        lost = np.where(robust.rule.errs(x, k, radius), density, np.nan)
        axes.fill_between(x, lost, color=colour, alpha=0.25, linewidth=0.0)
        lost = np.where(benign.rule.errs(x, k, 0.0), density, np.nan)
        axes.fill_between(x, lost, facecolor="none", edgecolor=colour, hatch="////", linewidth=0.0)
    axes.set(xlabel="x", ylabel="prior × density", ylim=(0.0, axes.get_ylim()[1]))
    _draw_boundaries(axes, benign.rule, ":", f"benign optimum (hatched): {benign.risk:.3f}")
    _draw_boundaries(axes, robust.rule, "-", f"robust optimum (shaded): {robust.risk:.3f}")
    axes.set_title(f"What the optimal rules\nlose at ε = {radius:g}", fontsize=10)


def _draw_boundaries(axes: "Axes", rule: IntervalRule, style: str, label: str) -> None:
    """Draw the finite ends of the rule's interval; a constant rule keeps its line in the legend."""
    ends = [end for end in (rule.low, rule.high) if np.isfinite(end)]
    axes.plot([], [], color=BLACK, linestyle=style, label=label)
    axes.vlines(ends, *axes.get_ylim(), color=BLACK, linestyle=style, linewidth=1.2)


def _draw_thresholds(axes: "Axes", model: UnivariateGaussian, t: Float[np.ndarray, " n"], radius: float) -> None:
    """Draw the risk of 1[x > t] over t: benign, at `radius`, and beyond half the gap of the means."""
    beyond = 0.75 * abs(model.means[1] - model.means[0])
    styles = {0.0: (":", GREY), radius: ("-", BLACK), beyond: ("--", PURPLE)}
    for eps, (style, colour) in sorted(styles.items()):
        label = f"ε = {eps:.3g}, L* = {model.optimum(eps).risk:.3f}"
        axes.plot(t, model.threshold_risk(t, eps), linestyle=style, color=colour, label=label)
    axes.axvline(sum(model.means) / 2.0, color=VERMILION, linewidth=0.8, linestyle="--", label="midpoint")
    axes.set(xlabel="threshold t", ylabel="adversarial risk", ylim=(0.0, 1.0))
    axes.set_title("Risk of the rule\n1[x > t]", fontsize=10)
