"""Accuracy against the radius, from the runs beside a run."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from epsball.auditing.reading import Summary
from epsball.auditing.reading.drawing import radius_figure
from epsball.auditing.reading.several import CURVES, AtRadius, against_radius
from epsball.radius import format_radius, parse_radius
from epsball.report.formats import interval, percent
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="radius", short="Radius", title="Accuracy against radius", term="accuracy under attack")


def radius(summary: Summary, before: Summary | None = None) -> Section:
    """Return the section; with the run before, of both networks."""
    found = against_radius(summary.reading)
    then = () if before is None else against_radius(before.reading).points
    if len(then) < 2:
        then = ()
    more = {"left_out": found.left_out, "radii": len(found.points)}
    section = replace(_SECTION, template="radius.html.j2", more=more)
    if len(found.points) < 2:
        one = "audited" if not found.left_out else "audited and finished"
        return section.absent(
            f"this network was {one} within one ball, {summary.ball}; finished audits of the same examples in "
            "folders beside this one, at other radii, are drawn here",
            command=_command(summary),
        )
    lead = f"{len(found.points)} runs of this network on these examples. Robust accuracy lies in the grey area."
    if before is not None and then:
        lead += f" Dashed: {before.reading.name}, {len(then)} runs."
    table = Table(
        caption="Accuracy by radius, with 95% intervals",
        header=("radius", *CURVES, "run"),
        rows=[*_rows(then), *_rows(found.points)],
    )
    drawn = radius_figure(found.points, summary.ball.partition(":")[0], then)
    figure = svg_of(drawn, "Accuracy under attack, certified, natural and limit by radius")
    return replace(section, lead=lead, figure=figure, table=table)


def _command(summary: Summary) -> str:
    """Return the command that audits at half the radius and at twice it, too."""
    text = summary.ball.partition(":")[2].partition(",")[0]
    radii = ",".join(format_radius(parse_radius(text) * factor) for factor in (Fraction(1, 2), Fraction(2)))
    return summary.audit_command(f"--radii {radii}", "radii")


def _rows(points: Sequence[AtRadius]) -> list[list[str]]:
    return [
        [point.text, *(_value(point.places.get(name)) for name in CURVES), "/".join(point.folder.parts[-2:])]
        for point in points
    ]


def _value(bound: Any) -> str:
    return "not measured" if bound is None else f"{percent(bound.value)} {interval(bound.interval)}"
