"""The Gaussian picture: what the optimal rules lose, the risk of every threshold, and L* over the radius."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from epsball.limits.figures import BLACK, CLASSES, GREY, PURPLE, RED
from epsball.limits.gaussian.univariate import IntervalRule, UnivariateGaussian
from epsball.results import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = Float[np.ndarray, " radii"]


def gaussian_figure(
    model: UnivariateGaussian, radii: Sequence[float], optimal: Curve, midpoint: Curve, radius: float
) -> "Figure":
    """Return the Gaussian picture: densities and errors, the risk of every threshold, L* over radii.

    Parameters
    ----------
    model
        The two classes.
    radii, optimal, midpoint
        (radii,) of the third panel: L*, and the risk of the threshold at the midpoint.
    radius
        The radius of the adversary in the first two panels.
    """
    figure = new_figure(12.5, 4.4)
    densities, thresholds, optimum = figure.subplots(1, 3)
    reach = 3.5 * np.sqrt(model.variances)
    x = np.linspace(np.min(model.means - reach), np.max(model.means + reach), 1201)
    _draw_densities(densities, model, x, radius)
    _draw_thresholds(thresholds, model, x, radius)
    optimum.plot(radii, midpoint, "--", color=RED, label="threshold at the midpoint")
    optimum.plot(radii, optimal, color=BLACK, linewidth=2.0, label="optimum L*(ε)")
    optimum.axvline(radius, color=GREY, linewidth=0.8, linestyle=":")
    optimum.set(xlabel="radius ε", ylabel="adversarial risk", ylim=(0.0, 1.0))
    optimum.set_title("Optimal risk over the radius", fontsize=10)
    for axes in (densities, thresholds, optimum):
        axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def _draw_densities(axes: "Axes", model: UnivariateGaussian, x: Float[np.ndarray, " n"], radius: float) -> None:
    """Draw pi_k f_k and what the benign and the robust optimum lose of it, with their boundaries."""
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
    axes.set_title(f"What the optimal rules lose at ε = {radius:g}", fontsize=10)


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
    axes.axvline(sum(model.means) / 2.0, color=RED, linewidth=0.8, linestyle="--", label="midpoint")
    axes.set(xlabel="threshold t", ylabel="adversarial risk", ylim=(0.0, 1.0))
    axes.set_title("Risk of the rule 1[x > t]", fontsize=10)
