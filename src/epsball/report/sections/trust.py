"""Whether the number can be trusted: the checks of the diagnosis."""

from dataclasses import replace

from epsball.auditing.reading import Summary
from epsball.auditing.reading.attacks import attack_numbers
from epsball.auditing.reading.drawing import attack_figure
from epsball.report.formats import count, interval, percent
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="trust", short="Trust", title="Can the number be trusted?", term="gradient masking")


def trust(summary: Summary) -> Section:
    """Return the section."""
    found = summary.diagnosis
    if found is None:
        reason = summary.reading.chain.get("without diagnosis because") or "no diagnosis in this run"
        return _SECTION.absent(reason, summary.audit_command("--diagnosis", "diagnosed"))
    order = {"masked": 0, "suspect": 1, "none": 2}
    outcome = {"fails": 0, "inconclusive": 1, "passes": 2}
    checks = sorted(found.checks, key=lambda check: (order[check.severity], outcome[check.finding]))
    reported = round(found.reported * found.examples)
    lead = {
        "sound": "Sound: nothing speaks against the number.",
        "suspect": "Suspect: something speaks against the number, or too little could be seen.",
        "masked": "Masked: gradients hide adversarial examples from plain attacks.",
    }[found.verdict]
    lead += f" On {found.examples:,} examples {percent(found.reported)} ({reported:,}) may be reported."
    if found.examples < summary.total:
        lead += f" Examined were {found.examples:,} of {summary.total:,} examples."
    attacks = attack_numbers(found)
    table = Table(
        caption=f"Accuracy by attack on {found.examples:,} examples",
        header=("attack", "stand", "accuracy", "95% interval"),
        rows=[[a.name, count(a.standing), percent(a.share), interval(a.interval)] for a in attacks],
    )
    figure = svg_of(attack_figure(attacks, found.examples), "Accuracy by attack")
    return replace(
        _SECTION,
        lead=lead,
        figure=figure,
        table=table,
        template="trust.html.j2",
        more={"diagnosis": found, "checks": checks},
    )
