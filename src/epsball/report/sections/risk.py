"""The risk decomposition."""

from dataclasses import replace

from epsball.auditing.reading import Summary
from epsball.auditing.reading.drawing import risk_figure
from epsball.report.formats import interval, percent
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="risk", short="Risk", title="Risk decomposition", term="boundary risk")


def risk(summary: Summary) -> Section:
    """Return the section."""
    if summary.risks is None:
        return _SECTION.absent("no example is finished")
    names = ("natural", "boundary", "robust")
    rows = [
        [f"{name} risk", percent(b.low), percent(b.high), interval(b.interval)]
        for name in names
        for b in [getattr(summary.risks, name)]
    ]
    header = ("risk", "at least", "at most", "95% interval for the source")
    lead = (
        "Robust risk is natural risk plus boundary risk. Attacks bound the boundary risk from below, proofs from above."
    )
    if any(method.tried for method in summary.methods) is False:
        lead += " Without certificates its upper end is every right example."
    figure = svg_of(risk_figure(summary.risks), "Natural, boundary and robust risk")
    return replace(
        _SECTION,
        lead=lead,
        figure=figure,
        table=Table(caption="Risks on these examples, and for their source", header=header, rows=rows),
    )
