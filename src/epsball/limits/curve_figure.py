"""Figures over the radius: the limit of a sample, and a classifier's risk beside it.

Nothing is known between two radii but that risk grows with the radius: so what was computed is drawn as points, what
lies between as the rectangle that both ends leave, and no line suggests values in between.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from epsball.figures import BLACK, BLUE, GREEN, GREY, PURPLE, SMALL, VERMILION, new_figure, radius_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = Float[np.ndarray, " radii"]

_EXACT = 1e-7
_BAR = 0.014
"""Width of a bar at a radius, as a share of the largest radius."""


def limit_figure(
    radii: Curve, low: Curve, high: Curve, lower: Curve, *, zero: float, norm: str, examples: int
) -> "Figure":
    """Return L* over the radii, with the lower bound for the distribution.

    Parameters
    ----------
    radii
        (radii,) ascending.
    low, high
        (radii,) both ends of L* of the sample; they agree where it is exact.
    lower
        (radii,) the lower bound of the distribution's L*, each at its own confidence.
    zero
        L* at radius 0, drawn where the radii begin later.
    norm
        Norm of the balls, for the axis.
    examples
        Number of examples of the sample.
    """
    if radii[0] > 0:
        radii, low, high = np.append(0.0, radii), np.append(zero, low), np.append(zero, high)
        lower = np.append(np.nan, lower)
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    _draw_between(axes, radii, low, high)
    inexact = high > low + _EXACT
    if inexact.any():
        middle, half = ((high + low) / 2)[inexact], ((high - low) / 2)[inexact]
        style = {"fmt": "none", "capsize": 3, "ecolor": BLACK}
        axes.errorbar(radii[inexact], middle, half, label="proved ends, where L* is not exact", **style)
    axes.plot(radii, low, "o", color=BLACK, markersize=4, label=f"L* of this sample of {examples}")
    known = ~np.isnan(lower)
    axes.step(radii[known], lower[known], "--", where="post", color=BLUE, linewidth=1.0)
    axes.plot(radii[known], lower[known], "^", color=BLUE, markersize=4, label="lower bound for the distribution")
    if not high.max() > 0:
        text = "0 at every radius computed: no two examples of different class\nhave balls that share a point"
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    top = 1.08 * float(high.max()) or 1.0
    axes.set(xlabel=radius_label(norm), ylabel="optimal adversarial risk L*", ylim=(-0.03 * top, top))
    axes.legend(frameon=False, fontsize=SMALL, loc="upper left")
    return figure


def risk_figure(
    radii: Curve,
    optimal: Curve,
    *,
    lower: Curve | None = None,
    natural: float | None = None,
    under_attack: Curve | None = None,
    certified: Curve | None = None,
    cross_entropy: tuple[Curve, Curve] | None = None,
    intervals: dict[str, tuple[Curve, Curve]] | None = None,
    unit: str = "",
) -> "Figure":
    """Return the optimal risk over the radius, compared with what a classifier reaches.

    Where the risk under attack exceeds L*, at least the difference is avoidable; where it falls below L*,
    the attack missed at least the difference. Between it and one minus certified accuracy nothing is decided.

    Parameters
    ----------
    radii
        (radii,) ascending.
    optimal
        (radii,) L* of the sample.
    lower
        (radii,) the lower bound of the distribution's L*.
    natural
        The classifier's risk without an adversary: its robust risk at radius 0.
    under_attack, certified
        (radii,) one minus accuracy under attack, and one minus certified accuracy: the lower and the
        upper end of the classifier's robust risk. NaN where not measured.
    cross_entropy
        Two curves (radii,) of the adversarial cross-entropy, for a second panel: what the data force on
        every classifier, and what the attack showed of this one. NaN where not measured.
    intervals
        Lower and upper ends (radii,) of confidence intervals, under the names of the parameters.
    unit
        Unit of the radius, for the axis.
    """
    panels = 1 if cross_entropy is None else 2
    figure = new_figure(6.4 * panels, 4.4)
    axes, *beside = figure.subplots(1, panels, squeeze=False, sharex=True)[0]
    if cross_entropy is not None:
        _draw_cross_entropy(beside[0], radii, *cross_entropy, unit)
    _draw_between(axes, radii, optimal, optimal)
    axes.plot(radii, optimal, "D", color=BLACK, markersize=4, label="optimal risk L* of the sample")
    if lower is not None:
        axes.plot(radii, lower, "_", color=BLACK, markersize=7, label="lower bound for the distribution")
    spread = intervals or {}
    shown = {"under_attack": under_attack, "certified": certified}
    styles = {
        "under_attack": ("o", VERMILION, "1 − accuracy under attack"),
        "certified": ("v", GREEN, "1 − certified accuracy"),
    }
    for name, (mark, colour, label) in styles.items():
        _draw_points(axes, radii, shown[name], mark, colour, label, spread.get(name))
    unknown = np.full(len(radii), np.nan)
    attacked, uncertified = (unknown if values is None else values for values in (under_attack, certified))
    _draw_bars(axes, radii, optimal, attacked, VERMILION, "////", "avoidable error, at least")
    _draw_bars(axes, radii, attacked, optimal, PURPLE, "xxxx", "missed by the attack, at least")
    _draw_bars(axes, radii, np.fmax(attacked, optimal), uncertified, GREEN, "", "undecided")
    if natural is not None:
        axes.axhline(natural, color=GREY, linestyle="--", linewidth=1.0, label="natural risk")
        axes.plot([0.0], [natural], "s", color=GREY, markersize=5)
    top = axes.get_ylim()[1]
    axes.set(xlabel=f"radius ε {unit}".strip(), ylabel="risk", ylim=(-0.02 * top, top))
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=SMALL, loc="outside lower center", ncols=3)
    return figure


def _draw_cross_entropy(axes: "Axes", radii: Curve, optimal: Curve, shown: Curve, unit: str) -> None:
    """Draw both lower ends of the adversarial cross-entropy; the difference is avoidable."""
    _draw_points(axes, radii, optimal, "D", BLACK, "forced by the data, on every classifier")
    _draw_points(axes, radii, shown, "o", VERMILION, "shown by the attack, of this classifier")
    _draw_bars(axes, radii, optimal, shown, VERMILION, "////", "avoidable, at least")
    axes.set(xlabel=f"radius ε {unit}".strip(), ylabel="adversarial cross-entropy (nats)")
    axes.set_ylim(-0.03 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=SMALL)


def _draw_between(axes: "Axes", radii: Curve, low: Curve, high: Curve) -> None:
    """Shade what L* may be between two radii: it is at least the value before and at most the value after."""
    x = np.repeat(radii, 2)[1:-1]
    axes.fill_between(x, np.repeat(low, 2)[:-2], np.repeat(high, 2)[2:], color=BLACK, alpha=0.12, linewidth=0.0)


def _draw_points(
    axes: "Axes",
    radii: Curve,
    values: Curve | None,
    mark: str,
    colour: str,
    label: str,
    interval: tuple[Curve, Curve] | None = None,
) -> None:
    """Draw the measured values as points, with the confidence intervals given."""
    known = np.zeros(len(radii), bool) if values is None else ~np.isnan(values)
    if values is None or not known.any():
        return
    # Open markers show what lies beneath them; intervals stand beside the points, filled markers' on the left.
    inexactmark = mark == "v"
    face = "white" if inexactmark else colour
    axes.plot(radii[known], values[known], mark, color=colour, markerfacecolor=face, markersize=5.5, label=label)
    if interval is not None:
        beside = _BAR * float(radii.max() or 1.0) * (1 if inexactmark else -1)
        spread = [(values - interval[0])[known], (interval[1] - values)[known]]
        whiskers = {"fmt": "none", "ecolor": colour, "capsize": 3, "linewidth": 1.0}
        axes.errorbar(radii[known] + beside, values[known], spread, label=f"95% interval of {label}", **whiskers)


def _draw_bars(axes: "Axes", radii: Curve, low: Curve, high: Curve, colour: str, hatch: str, label: str) -> None:
    """Draw a bar from `low` to `high` at each radius at which it is above."""
    above = high > low
    if above.any():
        shade: dict[str, Any] = {"edgecolor": colour, "facecolor": (colour, 0.2), "hatch": hatch, "linewidth": 0.0}
        width = _BAR * float(radii.max() or 1.0)
        axes.bar(radii[above], (high - low)[above], width, low[above], label=label, zorder=0.9, **shade)
