"""The classes, the worst first."""

from dataclasses import replace

from epsball.auditing.reading import Summary
from epsball.auditing.reading.drawing import class_figure
from epsball.report.formats import count, interval, percent
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="classes", short="Classes", title="The worst classes", term="accuracy under attack")


def classes(summary: Summary) -> Section:
    """Return the section."""
    if not summary.classes:
        return _SECTION.absent("no example is finished")
    worst = summary.classes[0]
    rows = [
        [
            c.name,
            count(c.total),
            count(c.right),
            count(c.standing),
            "not measured" if c.certified is None else count(c.certified),
            percent(c.share),
            interval(c.interval),
            "not recorded" if c.taken_for is None else f"{c.taken_for[0]} ({c.taken_for[1]:,})",
        ]
        for c in summary.classes
    ]
    header = ("class", "examples", "right", "stand", "certified", "share that stands", "95% interval", "taken for")
    lead = f"Worst is {worst.said}: {worst.standing:,} of {worst.total:,} stand."
    if len(summary.classes) > 12:
        lead += f" Drawn are the 12 worst of {len(summary.classes):,} classes; the table has all."
    figure = svg_of(class_figure(summary.classes), "Share that stands in each of the worst classes")
    return replace(
        _SECTION,
        lead=lead,
        figure=figure,
        table=Table(caption="Classes, the worst first", header=header, rows=rows),
    )
