"""Certificates by method, and what they cost."""

from dataclasses import replace

from epsball.auditing.reading import Summary
from epsball.auditing.reading.drawing import method_figure
from epsball.report.formats import count
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="certificates", short="Proofs", title="Certificates by method", term="certified accuracy")


def certificates(summary: Summary) -> Section:
    """Return the section."""
    if not summary.methods:
        reason = summary.reading.chain.get("without certificates because") or "no certificate in this run"
        return _SECTION.absent(reason, summary.audit_command("--certificates auto", "certified"))
    semantics = next(iter({v for v in summary.reading.column("certificate.semantics") if v is not None}), "float32")
    replayable = int(summary.reading.flag("certificate.replayable").sum())
    certified = summary.verdicts["certified"]
    rows = [[m.name, count(m.tried), count(m.proved), count(m.best), count(m.passes)] for m in summary.methods]
    header = ("method", "bounded", "certified by it", "last word", "passes")
    lead = f"{certified:,} of {summary.total:,} examples are certified, under {semantics} semantics."
    lead += f" The methods took {sum(m.passes for m in summary.methods):,} passes."
    lead += f" {replayable:,} bounds can be checked again by the independent checker."
    figure = svg_of(method_figure(summary.methods, summary.total), "Examples bounded and certified by method")
    return replace(
        _SECTION,
        lead=lead,
        figure=figure,
        table=Table(caption="Methods in the order of the cascade", header=header, rows=rows),
    )
