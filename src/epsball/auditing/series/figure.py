"""The figure of audits within several balls: each place of the chain against the radius."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epsball.auditing.chain import ATTACK, CERTIFIED, LIMIT, NATURAL
from epsball.auditing.result import Audit
from epsball.figures import GREY, legend_above, line_style, marker, new_figure, radius_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACES = (NATURAL, ATTACK, CERTIFIED, LIMIT)


def radii_figure(audits: Sequence[Audit]) -> "Figure":
    """Return one panel per norm: each place of the chain against the radius, with 95% intervals for the source.

    Between accuracy under attack and certified accuracy lies robust accuracy; that area is grey.
    """
    norms = list(dict.fromkeys(audit.ball.norm for audit in audits if audit.ball is not None))
    figure = new_figure(5.6 * len(norms), 3.8)
    panels = figure.subplots(1, len(norms), squeeze=False)[0]
    for axes, norm in zip(panels, norms, strict=True):
        _panel(axes, [audit for audit in audits if audit.ball is not None and audit.ball.norm == norm])
        axes.set_xlabel(radius_label(norm))
        axes.set_ylabel("accuracy")
        axes.set_ylim(-0.02, 1.02)
    legend_above(panels[0])
    return figure


def _panel(axes: "Axes", audits: Sequence[Audit]) -> None:
    radii = {id(audit): float(audit.ball.radius) for audit in audits if audit.ball is not None}
    both = [audit for audit in audits if {ATTACK, CERTIFIED} <= set(audit.chain.places)]
    if len(both) > 1:
        low, high = ([audit.chain.robust_accuracy[end] for audit in both] for end in (0, 1))
        axes.fill_between([radii[id(a)] for a in both], low, high, color=GREY, alpha=0.15, linewidth=0, label="robust")
    for number, name in enumerate(PLACES):
        found = [(radii[id(audit)], audit.chain.places[name]) for audit in audits if name in audit.chain.places]
        if not found:
            continue
        # Side by side where curves meet, so that all intervals are seen.
        shift = (number - 1.5) * 0.006 * max(radii.values())
        at = [radius + shift for radius, _ in found]
        values = [bound.value for _, bound in found]
        errors = [
            [0.0 if bound.interval is None else bound.value - bound.interval.low for _, bound in found],
            [0.0 if bound.interval is None else bound.interval.high - bound.value for _, bound in found],
        ]
        looks = {"marker": marker(number), "markersize": 4, "linewidth": 1.2, "elinewidth": 0.7}
        axes.errorbar(at, values, errors, label=name, **line_style(number), **looks)
