"""Accuracy against the radius, from the runs beside a run."""

from dataclasses import replace
from typing import Any

from epsball.auditing.reading import Summary
from epsball.auditing.reading.drawing import radius_figure
from epsball.auditing.reading.several import CURVES, against_radius
from epsball.report.formats import interval, percent
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="radius", short="Radius", title="Accuracy against radius", term="accuracy under attack")


def radius(summary: Summary) -> Section:
    """Return the section."""
    points = against_radius(summary.reading)
    if len(points) < 2:
        return _SECTION.absent(
            f"this network was audited within one ball, {summary.ball}; audits of the same examples in folders "
            "beside this one, at other radii, are drawn here",
            command=f"epsball audit MODEL DATA --ball {summary.ball} --radii R1,R2,R3 --out FOLDER",
        )
    norm = summary.ball.partition(":")[0]
    rows = [[point.text, *(_value(point.places.get(name)) for name in CURVES), point.folder.name] for point in points]
    table = Table(caption="Accuracy by radius, with 95% intervals", header=("radius", *CURVES, "run"), rows=rows)
    figure = svg_of(radius_figure(points, norm), "Accuracy under attack, certified, natural and limit by radius")
    return replace(_SECTION, lead=f"{len(points)} runs of this network on these examples.", figure=figure, table=table)


def _value(bound: Any) -> str:
    return "not measured" if bound is None else f"{percent(bound.value)} {interval(bound.interval)}"
